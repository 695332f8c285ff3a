"""What the user asks of a test: the options of ``foreshock test``, and the shape of a ``--config`` file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user asked for; also the shape of a ``--config`` file."""

    target: str = "raft"
    workload: str = "register"
    nemesis: str = "none"
    """Names separated by commas, each with a weight if need be (``partition,kill=3``), or ``none``."""
    mix: str = "streams"
    """``streams``: each nemesis keeps its own schedule; ``exclusive``: one fault at a time, drawn by weight."""
    intensity: str = "medium"
    """``low``, ``medium``, ``high``, ``extreme``, or a factor."""
    quiet_windows: str | None = None
    """``10-15,30-35``: s of the main phase in which everything is healed."""
    schedule: str | None = None
    """A TOML file of faults that is played in place of the nemeses' own schedules."""
    allow: str | None = None
    """Patterns separated by commas: the nodes, or their containers, that faults may touch; ``None``: all of the run."""
    backend: str = "auto"
    nodes: str | None = None
    """A count, or names separated by commas; ``None``: what the target is made for."""
    concurrency: str = "2n"
    """A count of processes, or a multiple of the nodes such as ``2n``."""
    rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 100.0
    time_limit: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    interval: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 5.0
    seed: Annotated[int, msgspec.Meta(ge=0)] | None = None
    bug: str | None = None
    checker: str | None = None
    """Names separated by commas: checkers beside those of the workload."""
    options: Mapping[str, Any] = {}
    """``KEY`` or ``OWNER.KEY`` (``target``, ``workload`` or a nemesis' name) to value."""
    operation_timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)] = 5_000
    recovery_time: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    """Seconds that the cluster gets between healing and the final phase."""
    ready_timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    deadline: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    """Seconds that the checkers may take together."""
    memory: str = "2GiB"

    def arguments(self, backend: str, seed: int | None) -> list[str]:
        """The words after ``foreshock test`` that ask for this test on a backend; with a seed, for that one."""
        words = ["--target", self.target, "--workload", self.workload, "--backend", backend]
        if self.nemesis not in ("", "none"):
            words += ["--nemesis", self.nemesis]
        if self.bug:
            words += ["--bug", self.bug]
        if seed is not None:
            words += ["--seed", str(seed)]
        default = Request()
        for flag in _FLAGS:
            value = getattr(self, flag)
            if value is not None and value != getattr(default, flag):
                shown = int(value) if isinstance(value, float) and value.is_integer() else value
                words += [f"--{flag.replace('_', '-')}", str(shown)]
        for key, value in self.options.items():
            words += ["-o", f"{key}={value}"]
        return words


_FLAGS = (
    "checker",
    "mix",
    "intensity",
    "quiet_windows",
    "schedule",
    "allow",
    "nodes",
    "concurrency",
    "rate",
    "time_limit",
    "interval",
    "operation_timeout_ms",
    "recovery_time",
    "ready_timeout",
    "deadline",
    "memory",
)
