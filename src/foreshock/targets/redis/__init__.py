"""Redis, real and simulated: what the redis locks and the redis cache are built on."""
