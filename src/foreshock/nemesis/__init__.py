"""Nemeses: what goes wrong. Each is a package of faults, a generator, and a final generator that heals."""
