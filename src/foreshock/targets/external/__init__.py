"""Targets that we did not write: systems from their own packages, each in one file."""
