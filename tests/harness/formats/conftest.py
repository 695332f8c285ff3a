"""The fixture that runs commands."""

from tests.harness.cli.conftest import command

__all__ = ["command"]
