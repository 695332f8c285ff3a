"""Distributed locks as targets: over TCP, in shared memory, on Redis."""
