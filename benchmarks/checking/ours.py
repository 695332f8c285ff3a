"""Our side, as anybody runs it: the public command, and the checker for what the command does not tell apart."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from foreshock.harness.checker import CheckContext, Checker, CheckResult
from foreshock.harness.history import History

FORESHOCK: Final = str(Path(sys.executable).with_name("foreshock"))


class Command(NamedTuple):
    """One run of ``foreshock check``: the whole by the clock, its own figure for the search, and its answer."""

    whole_s: float
    search_s: float
    document: dict[str, Any]

    def verdicts(self) -> list[str]:
        """The verdict of each file, in the order in which they were given."""
        return [history["verdict"] for history in self.document["histories"]]


def check_command(model: str, files: Sequence[Path], *, deadline_s: float = 60.0) -> Command:
    """Run ``foreshock check --json`` on the files."""
    command = [
        FORESHOCK,
        "check",
        "--json",
        "--model",
        model,
        "--deadline",
        str(deadline_s),
        *map(str, files),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    whole_s = time.perf_counter() - began
    try:
        document = json.loads(done.stdout)
        return Command(whole_s, document["seconds"], document)
    except (json.JSONDecodeError, KeyError):
        raise SystemExit(f"{' '.join(command[:8])} ... gave no answer:\n{done.stderr[-1000:]}") from None


def check_command_often(model: str, files: Sequence[Path], *, times: int) -> Command:
    """The run with the median time, after one that only warms the caches (compiled kernels, files)."""
    check_command(model, files)
    runs = sorted((check_command(model, files) for _ in range(times)), key=lambda run: run.whole_s)
    middle = runs[len(runs) // 2]
    return middle._replace(search_s=statistics.median(run.search_s for run in runs))


def whole_command_s(model: str, files: Sequence[Path], *, times: int) -> float:
    """The median time of a whole ``foreshock check``, import and all: every verdict with its reason."""
    command = [FORESHOCK, "check", "--model", model, *map(str, files)]
    took = []
    for _ in range(times + 1):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - began)
        if done.returncode not in (0, 1) or done.stdout.count("\n") != len(files):
            raise SystemExit(f"{' '.join(command[:5])} ... gave no answer:\n{done.stderr[-1000:]}")
    return statistics.median(took[1:])


def check(
    checker: Checker, history: History, *, deadline_s: float, memory_bytes: int
) -> tuple[CheckResult, float]:
    """The result of a checker, and the seconds that it took."""
    began = time.perf_counter()
    deadline_ns = time.monotonic_ns() + round(deadline_s * 1e9)
    result = checker.check(history, CheckContext(deadline_ns=deadline_ns, memory_limit_bytes=memory_bytes))
    return result, time.perf_counter() - began
