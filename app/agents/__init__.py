"""The calls out: an operation's document goes in, an answer comes out."""
