"""What runs in processes of its own: the load, the supplier, and the limits. Each says `ready`, then does as it is told."""
