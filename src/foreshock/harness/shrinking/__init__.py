"""A stored run again: replayed byte for byte, hunted for by the thousand, shrunk to the least that still fails."""
