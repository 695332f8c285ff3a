"""A command in a process that is forked from this one: killed as any other, but its modules are loaded already."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

POLL_S = 0.002


class Forked:
    """``foreshock`` with these arguments, under way. What it says goes to two files in a folder.

    For processes of one thread only: of a process with more, a fork has but the one that forked.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        number = len(list(folder.glob("said-*.out")))
        self._out, self._err = folder / f"said-{number}.out", folder / f"said-{number}.err"
        self._out.touch()
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_it(arguments, environment)

    def _be_it(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        code = 70
        try:
            for number, path in ((0, os.devnull), (1, str(self._out)), (2, str(self._err))):
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(fd, number)
                os.close(fd)
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
            for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(name, signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(environment)
            from foreshock.harness.cli.main import main

            code = main(arguments)
            sys.stdout.flush()
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that killed it); ``None`` while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; raises ``TimeoutError``."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(POLL_S)
        return code

    def kill(self) -> None:
        """``kill -9``, and wait."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def finish(self, timeout_s: float) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout, stderr. Raises ``TimeoutError``, and has killed it then."""
        try:
            code = self.wait(timeout_s)
        except TimeoutError:
            self.kill()
            raise
        return code, self._out.read_text(errors="replace"), self._err.read_text(errors="replace")
