"""The entry point of the ``foreshock`` command.

It imports next to nothing itself, so that a Ctrl-C while the rest is imported is met here already.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""As ``ExitCode.INTERRUPTED``, which is not imported yet."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        from foreshock.harness.cli.group import run

        return run(arguments)
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("foreshock: interrupted\n")
        return INTERRUPTED
