"""A lock agent: processes of one host compete for locks in memory that they share."""
