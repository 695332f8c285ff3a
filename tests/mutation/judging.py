"""Judging mutants by tests, each in a process of its own that is forked when everything is imported.

Nothing on disk is ever changed: in the fork the function's code is replaced by the mutant's, in all that refers to it.
A mutant is judged by the tests that reach its lines, those first that told others apart, until one fails.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import io
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import coverage
import pytest
from _pytest.runner import runtestprotocol
from tests.mutation.mutants import Mutant, codes

import foreshock.checkers

CHECKERS: Final = Path(foreshock.checkers.__file__).parent
TEST_S_MAX: Final = 4.0
"""Tests that take longer (measured, interpreted) judge nothing."""
JUDGED_S_MAX: Final = 20.0
"""A mutant that this much testing does not tell apart has survived."""
MEMORY_BYTES: Final = 2 << 30
"""What a mutant may take beyond what the parent has."""
HOPELESS_S: Final = 60.0


@dataclass(frozen=True)
class Test:
    """A test that passes on the code as it is: the lines of the checkers that it reaches, by module, and how long."""

    item: pytest.Item
    seconds: float
    lines: dict[str, set[int]]


@dataclass
class Judged:
    """What became of a mutant: ``killed`` (by a test), ``timed out`` (in a test), ``survived`` or ``not reached``."""

    mutant: Mutant
    verdict: str
    by: str = ""
    tests: int = 0
    seconds: float = 0.0


@dataclass
class Judge:
    """Judges mutants by the tests of a pytest session."""

    tests: list[Test]
    seconds_max: float = JUDGED_S_MAX
    _kills: Counter[str] = field(default_factory=Counter)
    _functions: dict[tuple[str, str, int], list[FunctionType]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(str(CHECKERS)):
                code = thing.__code__
                key = (code.co_filename, code.co_qualname, code.co_firstlineno)
                self._functions.setdefault(key, []).append(thing)

    def judge(self, mutant: Mutant) -> Judged:
        """Run the tests that reach the mutant until one fails; tests that found others come first, quick ones next."""
        path = str(CHECKERS / mutant.module)
        functions = self._functions.get((path, *mutant.outermost))
        if not functions:
            return Judged(mutant, "not reached")
        reached = [
            test for test in self.tests if not test.lines.get(mutant.module, set()).isdisjoint(mutant.lines)
        ]
        if not reached:
            return Judged(mutant, "not reached")
        reached.sort(key=lambda test: (-self._kills[test.item.nodeid] / (test.seconds + 0.01), test.seconds))
        budget, chosen = self.seconds_max, []
        for test in reached:
            if not chosen or test.seconds <= budget:
                chosen.append(test)
                budget -= test.seconds
        code = next(
            code
            for code in codes(compile(mutant.source, path, "exec", dont_inherit=True))
            if (code.co_qualname, code.co_firstlineno) == mutant.outermost
        )
        began = time.monotonic()
        verdict, by = self._run(functions, code, chosen)
        if by:
            self._kills[by] += 1
        return Judged(mutant, verdict, by, len(chosen), round(time.monotonic() - began, 2))

    def _run(self, functions: list[FunctionType], code: Any, tests: list[Test]) -> tuple[str, str]:
        def work(say: Callable[[str], None]) -> None:
            for function in functions:
                function.__code__ = code
            for number, test in enumerate(tests):
                say(f"{number}\n")
                signal.setitimer(signal.ITIMER_PROF, 4 * test.seconds + 1)
                if not passes(test.item):
                    say("killed\n")
                    return
            say("survived\n")

        words = in_a_fork(work, sum(4 * test.seconds + 1 for test in tests) + HOPELESS_S).split("\n")
        last = words[-2] if len(words) > 1 else "0"
        if last == "survived":
            return "survived", ""
        if last == "killed":
            return "killed", tests[int(words[-3])].item.nodeid
        return "timed out", tests[int(last)].item.nodeid


def passes(item: pytest.Item) -> bool:
    """Run one test, and say whether it passed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        reports = runtestprotocol(item, log=False, nextitem=None)
    return all(report.passed for report in reports)


def in_a_fork(work: Callable[[Callable[[str], None]], None], seconds_max: float) -> str:
    """Do something in a fork of this process, and return what it says; it is ended when it takes too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.close(reader)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            limit = resident_and_mapped() + MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            work(lambda text: void(os.write(writer, text.encode())))
        os._exit(0)
    os.close(writer)
    said, until = b"", time.monotonic() + seconds_max
    while True:
        ready, _, _ = select.select([reader], [], [], max(until - time.monotonic(), 0))
        part = os.read(reader, 1 << 16) if ready else b""
        if not part:
            break
        said += part
    os.close(reader)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said.decode()


def void(_: object) -> None:
    """Nothing comes back."""


def resident_and_mapped() -> int:
    """The size of this process's address space, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def measure(items: Iterable[pytest.Item], known: Path) -> list[Test]:
    """What each test reaches and how long it takes; what was measured before on the same checkers is kept in a file."""
    fingerprint = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(CHECKERS.rglob("*.py")))
    ).hexdigest()
    kept: dict[str, Any] = json.loads(known.read_text()) if known.exists() else {}
    if kept.get("checkers") != fingerprint:
        kept = {"checkers": fingerprint, "tests": {}}
    tests = []
    for item in items:
        if item.nodeid not in kept["tests"]:
            words = in_a_fork(lambda say, item=item: _measure(item, say), 2.5 * TEST_S_MAX)  # type: ignore[misc]
            kept["tests"][item.nodeid] = json.loads(words) if words else None
            if len(kept["tests"]) % 10 == 0:
                known.write_text(json.dumps(kept))
        found = kept["tests"][item.nodeid]
        if found and found["passed"] and found["seconds"] <= TEST_S_MAX:
            tests.append(Test(item, found["seconds"], {m: set(n) for m, n in found["lines"].items()}))
        else:
            print(f"judges nothing: {item.nodeid}", file=sys.__stderr__)
    known.write_text(json.dumps(kept))
    return tests


def _measure(item: pytest.Item, say: Callable[[str], None]) -> None:
    traced = coverage.Coverage(data_file=None, include=[f"{CHECKERS}/*"])
    began = time.process_time()
    traced.start()
    passed = passes(item)
    traced.stop()
    seconds = time.process_time() - began
    data = traced.get_data()
    lines = {Path(path).relative_to(CHECKERS).as_posix(): data.lines(path) for path in data.measured_files()}
    say(json.dumps({"passed": passed, "seconds": round(seconds, 3), "lines": lines}))


def import_all() -> None:
    """Import every module of the checkers, so that no fork has to, and every function is there to be replaced."""
    for module in pkgutil.walk_packages([str(CHECKERS)], "foreshock.checkers."):
        importlib.import_module(module.name)
