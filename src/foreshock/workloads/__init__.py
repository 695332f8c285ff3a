"""Workloads: what clients do. Each is a generator, the checkers that judge it, and a final phase after healing."""
