"""Sequential specifications: what a single copy of the system, asked one operation at a time, would answer."""
