"""Distributed caches over an origin database, as targets."""
