"""In and out over HTTP."""
