"""Backends: where the nodes of a cluster live."""
