"""A payment provider and a supplier to try Makegood with."""
