"""The zoo: every planted bug must be found, and everything correct must survive, many simulated tests at a time."""
