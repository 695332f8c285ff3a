"""A lock server: a lock lives and dies with its client's connection."""
