"""The services of the reference node: deterministic state machines, fed by log entries alone."""
