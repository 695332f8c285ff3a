"""Planted bugs: small subclasses that each override one decision of the correct node."""
