"""The reference node and its target: our own consensus cluster, the proving ground of the harness."""
