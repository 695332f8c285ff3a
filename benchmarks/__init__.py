"""Figures, each beside its peer's in the same run. ``python -m benchmarks`` prints them all."""
