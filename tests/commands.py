"""The ``foreshock`` command in a process of its own: run it, watch it, signal it. Every wait is bounded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import processes_of_run
from foreshock.harness.cli.main import main

FORESHOCK = (sys.executable, "-m", "foreshock")
WAIT_S = 600.0
"""No measure of anything, but an end to what hangs: tests that compute give way, and may get little of a core."""
PLUG_INS = str(Path(__file__).with_name("bad_plug_ins.py"))
BREAKING = (
    "--workload",
    "lock",
    "--nemesis",
    "partition,kill,pause",
    "--interval",
    "0.5",
    "--quiet-windows",  # locks are used before faults come, which may leave no quorum for long
    "0-2",
    "--time-limit",
    "60",
    "--nodes",
    "3",
    "--operation-timeout-ms",
    "1000",
)


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one JSON document that it must be."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def foreshock(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = WAIT_S
) -> Result:
    """Run a command to its end."""
    done = subprocess.run(
        [*FORESHOCK, *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return Result(done.returncode, done.stdout, done.stderr)


class Started:
    """A command under way. Leaving the block kills what is left of it."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [*FORESHOCK, *arguments],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for_line(self, text: str) -> None:
        """Until a line on stderr holds the text."""
        with self._news:
            seen = self._news.wait_for(
                lambda: self._ended or any(text in line for line in self._lines), timeout=WAIT_S
            )
        assert seen, f"no line with {text!r} came: {self._lines}"
        assert any(text in line for line in self._lines), f"it ended without {text!r}: {self._lines}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(WAIT_S)

    def finish(self) -> Result:
        """Wait for its end."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        result = Result(code, out, "".join(self._lines))
        assert "Traceback" not in result.err + result.out
        return result


HUNT_MAX = 20
"""So many tests a hunt on real nodes may take: what one test of two finds is missed by one hunt of a million."""


def hunt(test: Callable[[int], dict[str, Any]], *checkers: str) -> dict[str, Any]:
    """The first test on real nodes, each with a seed of its own, whose history one of the checkers finds invalid.

    What happens on real nodes is a matter of chance: nothing may come out, or another checker may be the one to tell.
    """
    told = []
    for seed in range(1, 1 + HUNT_MAX):
        document = test(seed)
        assert document["harness_errors"] == []
        if any(document["checkers"].get(name, {}).get("verdict") == "invalid" for name in checkers):
            return document
        told.append((document["verdict"], document["reason"]))
    raise AssertionError(f"none of {checkers} convicted in {HUNT_MAX} tests: {told}")


def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until the condition holds."""
    deadline = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {WAIT_S:g} s"
        pause.wait(0.01)


def only_run(store: Path) -> Path:
    """The folder of the one run in the store."""
    (run,) = (path for path in store.glob("*/*") if path.parent.name != "latest" and path.is_dir())
    return run


def recorded(store: Path) -> int:
    """How many events all histories of the store hold by now."""
    return sum(path.read_bytes().count(b"\n") for path in store.glob("*/*/history.jsonl"))


def judgeable(store: Path) -> bool:
    """Whether every checker of locks has something to judge: the resource was used by somebody who held one."""
    return any(
        b'"type":"ok"' in line and b'"f":"use"' in line
        for path in store.glob("*/*/history.jsonl")
        for line in path.read_bytes().split(b"\n")[:-1]
    )


def faults_injected(store: Path) -> set[str]:
    """The kinds of fault that have been verified by now."""
    found: dict[int, str] = {}
    kinds = set()
    for path in store.glob("*/*/faults.jsonl"):
        for line in path.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the line is just being written
            if event["event"] == "planned":
                found[event["id"]] = event["kind"]
            elif event["event"] == "verified":
                kinds.add(found[event["id"]])
    return kinds


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The command in this process; exit code, stdout, stderr."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


def nothing_left(run: Path) -> None:
    """Neither a process of the run nor its entry in the registry."""
    assert processes_of_run(run.name.lower()) == []
    assert live_runs.find_run(run.name.lower()) is None


def broken_run(test: Started, store: Path) -> Path:
    """Wait until the test has recorded something and broken something."""
    test.wait_for_line("running")
    until(lambda: recorded(store) > 60 and len(faults_injected(store)) >= 2, "a test with faults in it")
    until(lambda: judgeable(store), "the use of a lock")
    return only_run(store)
