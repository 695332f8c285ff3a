"""Checkers: what must hold of a recorded history."""
