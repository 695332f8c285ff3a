"""Importers and exporters of histories: one module a format, found through the entry point ``foreshock.formats``."""
