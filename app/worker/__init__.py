"""The duties of a worker process."""
