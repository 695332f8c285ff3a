"""Rich's console for our purposes."""

from __future__ import annotations

import sys

from rich.console import Console

from foreshock.harness.broken_pipe import silence_stdout


class PatientConsole(Console):
    """A console that does not end the process when its reader has gone away; rich's own does, with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True
        if self.file is sys.stdout:
            silence_stdout()
