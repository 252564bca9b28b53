"""The peers: other ways to do the same job, each a program of its own in an environment of its own (see `setup`)."""
