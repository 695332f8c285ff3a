"""Rich's console for our purposes."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console

from foreshock.harness.broken_pipe import silence_stdout
from foreshock.harness.printable import printable


class PatientConsole(Console):
    """A console that does not end the process when its reader has gone away; rich's own does, with exit code 1.

    Nor does what nodes and plug-ins say steer the terminal.
    """

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich's own."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **how)

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True
        if self.file is sys.stdout:
            silence_stdout()
