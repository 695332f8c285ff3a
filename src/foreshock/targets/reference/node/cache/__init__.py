"""A distributed cache, sans I/O: one node is the origin, over a database; the others keep copies of what it holds."""
