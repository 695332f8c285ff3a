"""Where the tests of a campaign are run: on this machine, or on a cluster of workers. The campaign does not care."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import msgspec

from foreshock.harness.campaign.document import Attempt, CampaignTest
from foreshock.harness.progress import Snapshot


class Job(msgspec.Struct, frozen=True):
    """One attempt at one test; the first has the number 1."""

    test: CampaignTest
    number: int


class Running(msgspec.Struct, frozen=True):
    """A job under way: who runs it, since how many seconds, and how it stands where that is known."""

    job: Job
    worker: str
    seconds: float
    phase: str = ""
    snapshot: Snapshot | None = None


class Finished(msgspec.Struct, frozen=True):
    """A job that ended. ``lost``: its worker went away with it, and it is to be run again."""

    job: Job
    attempt: Attempt
    lost: bool = False


class Executor(Protocol):
    """Runs jobs. Used as a context: leaving it ends what is under way, healed and torn down.

    ``errors`` are sentences about what went wrong beside the tests, such as a fault that could not be healed after a
    worker was lost.
    """

    errors: list[str]

    def __enter__(self) -> Executor:
        """Begin; raises :class:`HarnessError` when there is nowhere to run anything."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every job under way and give back what was taken."""

    def can_start(self, job: Job) -> bool:
        """Whether there is room for this job now: cores, memory, ports, engines."""

    def start(self, job: Job) -> None:
        """Start a job; never waits for its end."""

    def running(self) -> Sequence[Running]:
        """What is under way."""

    def finished(self, timeout_s: float) -> Sequence[Finished]:
        """The jobs that ended since the last call, waiting for the first of them at most as long as given."""

    def interrupt(self) -> None:
        """Have every job under way end early, as Ctrl-C does for a test; they come as finished ones."""
