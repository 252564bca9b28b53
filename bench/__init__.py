"""The bench: how fast the service is, against the machine's limits and against its peers, in one run.

    python -m bench      the driver: prepares, lets the sides take turns, checks, prints
      ├─ postgres        the embedded server, in a folder of its own; a fresh database for each repeat
      ├─ supplier        answers at once and counts
      ├─ service         `python -m app serve`, or a limit, or a peer
      └─ load            signed webhooks that were made beforehand

Every one is a process of its own on 127.0.0.1. The sides take turns, so that what slows the machine for a while slows
them all; a figure is the median of its repeats, and stands beside a limit or a peer of the same run. After each repeat
the rows and the supplier's count are looked at: a repeat whose work was not done gives no figure, and the bench fails.
"""
