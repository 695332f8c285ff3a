"""What a rehearsal writes down, the hosts that write it, and the clock that costs no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import msgspec

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.cluster import Cluster, ClusterSpecification
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult
from foreshock.harness.runtime import Runtime

T = TypeVar("T")

ASSUMED_PID: Final = 1000
"""What stands for the pids that a system would give, and is what every script is taken to answer."""
ANSWERS: Final = (
    ("clock_file.py", "0 " * 10),
    ('print "used"', "used 67108864\ninactive 0\nfiles 1024\nstarted 1\n"),
    ('print "files"', "files 1024\nstarted 1\n"),
)
"""What scripts that read something are taken to answer: a clock that is right, a node that holds 64 MiB."""
COMMANDS_MAX: Final = 100_000


class Command(msgspec.Struct, frozen=True):
    """One command: where it would be run (``engine``, ``this machine``, ``n1``), and its text."""

    where: str
    text: str


class Recorder:
    """Collects commands until they are taken."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._count = 0

    def add(self, where: str, text: str) -> None:
        """Write down a command; raises ``HarnessError`` when there are too many to read."""
        self._count += 1
        if self._count > COMMANDS_MAX:
            raise HarnessError(
                f"the rehearsal has more than {COMMANDS_MAX} commands: give a shorter --time-limit"
            )
        self._commands.append(Command(where, text.strip()))

    def taken(self) -> tuple[Command, ...]:
        """What was written down since this was asked last."""
        commands, self._commands = tuple(self._commands), []
        return commands


class RecordingHost:
    """A :class:`~foreshock.harness.host.Host` that runs nothing: every script ends well."""

    def __init__(self, name: str, where: str, recorder: Recorder) -> None:
        self._name = name
        self._where = where
        self._recorder = recorder

    @property
    def name(self) -> str:
        """The name of the node that would live there."""
        return self._name

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:  # noqa: ARG002 - nothing is run
        """Write the script down."""
        self._recorder.add(self._where, script)
        found = (answer for words, answer in ANSWERS if words in script)
        return HostResult(exit_code=0, stdout=next(found, f"{ASSUMED_PID}\n"), stderr="")

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        """Write down which file would be put where."""
        self._recorder.add(self._where, f"(upload {len(data)} bytes to {remote_path}, mode {mode:o})")

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:  # noqa: ARG002
        """Write down which file would be fetched."""
        self._recorder.add(self._where, f"(download {remote_path})")

    def close(self) -> None:
        """Nothing is open."""


class DirectCalls:
    """Runs blocking calls where they are: those of a rehearsal do not block."""

    async def call(self, function: Callable[[], T]) -> T:
        """The function's result, or its exception."""
        return function()

    async def all_ended(self, timeout_s: float) -> bool:  # noqa: ARG002 - they end as they begin
        """All have."""
        return True

    def close(self) -> None:
        """Nothing is open."""


@runtime_checkable
class Rehearses(Protocol):
    """A backend that can show what it would run."""

    def rehearsal(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> Cluster:
        """A cluster that writes down what it is told; ``deploy`` does not wait for nodes to be ready."""


# --- time -----------------------------------------------------------------------------------------------------------


class _InstantSelector(selectors.SelectSelector):
    """Waits for nobody: where nothing is ready, the time that would have been waited has passed."""

    now_ns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self.now_ns += -int(-timeout * 1_000_000_000 // 1)
        return ready


class _InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self, selector: _InstantSelector) -> None:
        self._instant = selector
        super().__init__(selector)

    def time(self) -> float:
        return self._instant.now_ns / 1_000_000_000


class RehearsalRuntime(AsyncioRuntime):
    """asyncio's runtime on a clock that jumps to whatever comes next."""

    def __init__(self, seed: int) -> None:
        selector = _InstantSelector()
        super().__init__(seed, clock_ns=lambda: selector.now_ns, new_loop=lambda: _InstantLoop(selector))

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run a blocking function at once."""
        return function()
