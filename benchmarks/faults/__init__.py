"""Figures of the faults and of what carries them, each beside its peer's in the same run."""
