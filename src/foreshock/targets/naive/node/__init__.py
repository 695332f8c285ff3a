"""The programs of the naive nodes: standard library only, they travel inside the node's zipapp."""
