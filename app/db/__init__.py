"""Every SQL statement, and nothing else."""
