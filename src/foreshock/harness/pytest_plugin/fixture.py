"""What the fixture ``foreshock`` is: it runs chaos tests as part of a test of pytest."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import pytest

from foreshock.harness.backends.process_identity import identify
from foreshock.harness.errors import ForeshockError, NotAvailable, UsageError
from foreshock.harness.plan import Resolved, resolve
from foreshock.harness.progress import Progress, SilentProgress, choose_progress
from foreshock.harness.publish import Outcome
from foreshock.harness.pytest_plugin.alarms import HeldAlarm, hold_alarm
from foreshock.harness.pytest_plugin.failures import (
    HarnessFailed,
    Invalid,
    Misused,
    NotFound,
    Unknown,
    commands_again,
    describe_failure,
    tested,
)
from foreshock.harness.pytest_plugin.result import TestResult
from foreshock.harness.pytest_plugin.retention import OwnedStore, Owner
from foreshock.harness.pytest_plugin.settings import SEEDS_APART, request_from
from foreshock.harness.runner import run_test
from foreshock.harness.verdict import ExitCode

DEFAULT_STORE: Final = ".foreshock"
MARKERS_OWN: Final = ("seeds",)
"""What the marker takes and the settings of a test do not know."""
IN_A_LOOP: Final = (
    "foreshock.test() runs an event loop of its own, and was called within a running one: "
    "make the test a plain function (def, not async def)"
)
PROPERTIES: Final = ("foreshock_seed", "foreshock_verdict", "foreshock_run")
"""What each chaos test leaves among the properties of its test; a second one adds ``_2``."""


class Foreshock:
    """Runs chaos tests for one test of pytest."""

    def __init__(
        self, request: pytest.FixtureRequest, *, first_seed: int, base_seed: int, session_pid: int
    ) -> None:
        self._item: pytest.Item = request.node
        self._config = request.config
        self._folder = request.path.parent
        self._first_seed = first_seed
        self._base_seed = base_seed
        self._of_several = hasattr(request, "param")
        self._session_pid = session_pid
        self._results: list[TestResult] = []
        self.store: OwnedStore | None = None
        """Where the runs are, once there was one."""
        # What an earlier try of the same test left (pytest-rerunfailures) is not of this one.
        self._item.user_properties[:] = [
            each for each in self._item.user_properties if not str(each[0]).startswith(PROPERTIES)
        ]

    def test(
        self,
        *,
        target: str | type[Any] | None = None,
        workload: str | type[Any] | None = None,
        nemesis: str | type[Any] | list[str | type[Any]] | None = None,
        backend: str | None = None,
        seed: int | None = None,
        time_limit: float | None = None,
        options: Mapping[str, Any] | None = None,
        check: bool = True,
        expect: Literal["valid", "invalid"] = "valid",
        **settings: Any,
    ) -> TestResult:
        """Run one chaos test, and fail when it is not as expected.

        Every setting of ``foreshock test`` is one here, by its name with underscores (``rate=50``, ``nodes=3``,
        ``interval=1``, ``bug="raft/vote-not-persisted"``); what is not given comes from the marker, else from pytest's
        configuration, else it is the command's default. A target, workload or nemesis is a name, ``file.py:Class``
        (looked for from the current folder, then beside the test), or the class itself. ``time_limit`` and
        ``interval`` are in seconds, ``rate`` in operations a second. ``options`` are what ``-o`` takes.

        Fails with the counterexample when the history is illegal, and otherwise when nobody can say or the harness
        could not do its work; with ``check=False`` it only returns what was found. ``expect="invalid"`` asks for a
        violation: finding none is a failure then. Skips when this machine lacks the engine or a program (fails under
        ``--foreshock-require``).
        """
        __tracebackhide__ = True
        if expect not in ("valid", "invalid"):
            raise Misused(f"expect={expect!r} is nothing to expect: say 'valid' or 'invalid'")
        if not isinstance(check, bool):
            raise Misused(f"check={check!r:.200} is neither True nor False")
        self._refuse_where_it_cannot_run()
        given = {
            "target": target,
            "workload": workload,
            "nemesis": nemesis,
            "backend": backend,
            "seed": seed,
            "time_limit": time_limit,
            "options": options,
            **settings,
        }
        merged = self._merged({name: value for name, value in given.items() if value is not None})
        pinned = "seed" in merged
        if pinned and self._of_several:
            raise Misused(
                f"the marker asks for several seeds, and seed={merged['seed']} names one: leave out either of them"
            )
        merged.setdefault("seed", self._first_seed + SEEDS_APART * len(self._results))
        resolved = self._resolved(merged)
        with hold_alarm() as alarm:
            outcome = self._run(resolved, alarm)
        result = TestResult(outcome, self._again(resolved, pinned=pinned))
        self._results.append(result)
        self._note(result)
        if alarm.error is not None:
            self._tell(result)
            raise alarm.error from None  # not from what was handled where it rang
        if outcome.judgement.interrupted:
            raise KeyboardInterrupt  # it has been healed and torn down; now pytest is to end
        if check:
            self._judge(result, expect)
        self._tell(result)
        return result

    def __repr__(self) -> str:
        return "<chaos tests>"  # pytest shows it in each failure

    def close(self, *, failed: bool) -> None:
        """Keep the runs of a test that failed, with their reports, and forget those of one that did not."""
        keep = self._config.getoption("--foreshock-keep") or self._config.getini("foreshock_keep") or "failed"
        for result in self._results:
            if not failed and keep != "all":
                result.forget()
            elif result.run.is_dir():
                _ = result.reports

    # --- within ---------------------------------------------------------------------------------------------

    def _refuse_where_it_cannot_run(self) -> None:
        __tracebackhide__ = True
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            raise Misused(IN_A_LOOP)
        if inspect.iscoroutinefunction(getattr(self._item, "function", None)):  # whoever runs it: trio, too
            raise Misused(IN_A_LOOP)
        if threading.current_thread() is not threading.main_thread():
            raise Misused(
                "foreshock.test() must be called in the main thread, which alone can be interrupted and heal; "
                f"this is the thread {threading.current_thread().name!r}"
            )

    def _merged(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Configuration, then markers (the nearest wins), then the call, then the command line."""
        __tracebackhide__ = True
        merged: dict[str, Any] = {}
        for name in ("backend", "time_limit"):
            if self._config.getini(f"foreshock_{name}"):
                merged[name] = self._config.getini(f"foreshock_{name}")
        options: dict[str, Any] = {}
        for marker in reversed(list(self._item.iter_markers("foreshock"))):
            if marker.args:
                raise Misused(
                    f"the marker foreshock takes settings by name, and got {marker.args[0]!r} without"
                )
            own = {name: value for name, value in marker.kwargs.items() if name not in MARKERS_OWN}
            options |= _table(own.pop("options", {}))
            merged |= own
        options |= _table(call.get("options", {}))
        merged |= call
        for name in ("backend", "time_limit"):
            value = self._config.getoption(f"--foreshock-{name.replace('_', '-')}")
            if value is not None:
                merged[name] = value
        return {**merged, "options": options} if options else merged

    def _resolved(self, settings: Mapping[str, Any]) -> Resolved:
        __tracebackhide__ = True
        try:
            return resolve(request_from(settings, self._folder))
        except ForeshockError as error:
            self._give_up(error)

    def _run(self, resolved: Resolved, alarm: HeldAlarm) -> Outcome:
        __tracebackhide__ = True
        try:
            with _log_kept_apart():
                self.store = self._store()
                return run_test(resolved, self.store, self._progress(), report=False)
        except ForeshockError as error:
            self._give_up(error)
        except KeyboardInterrupt:
            if alarm.error is not None:  # nothing was deployed yet, and nobody caught the interrupt
                raise alarm.error from None
            raise

    def _give_up(self, error: ForeshockError) -> NoReturn:
        """The test could not even begin: skip it where this machine lacks something, else fail."""
        __tracebackhide__ = True
        if not isinstance(error, NotAvailable):
            kind = Misused if isinstance(error, UsageError) else HarnessFailed
            raise kind(str(error)) from None
        if self._config.getoption("--foreshock-require") or self._config.getini("foreshock_require"):
            raise Misused(f"{error} (it was not skipped, as --foreshock-require asks)") from None
        pytest.skip(str(error))

    def _store(self) -> OwnedStore:
        owner = Owner(self._item.nodeid, identify(self._session_pid))
        given = self._config.getoption("--foreshock-store")
        if given:
            return OwnedStore(Path(self._config.invocation_params.dir) / given, owner)
        folder = self._config.rootpath / (self._config.getini("foreshock_store") or DEFAULT_STORE)
        if folder.name == DEFAULT_STORE and not folder.exists():
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / ".gitignore").write_text("*\n")
        return OwnedStore(folder, owner)

    def _progress(self) -> Progress:
        """Live progress is for a person who watches (-s)."""
        watched = self._config.getoption("capture") == "no" and not hasattr(self._config, "workerinput")
        return choose_progress(quiet=False, as_json=False) if watched else SilentProgress()

    def _again(self, resolved: Resolved, *, pinned: bool) -> list[str]:
        path, separator, rest = self._item.nodeid.partition("::")
        shown = os.path.relpath(self._config.rootpath / path, self._config.invocation_params.dir)
        node_id = f"{shown}{separator}{rest}"
        pinned = pinned or (self._first_seed != self._base_seed and "[seed=" in rest)
        more = []
        for name in ("backend", "time-limit"):
            value = self._config.getoption(f"--foreshock-{name}")
            more += (
                [] if value is None else [f"--foreshock-{name}", f"{value:g}" if name != "backend" else value]
            )
        return commands_again(node_id, None if pinned else self._base_seed, more, resolved.command())

    def _note(self, result: TestResult) -> None:
        """Leave the seed and the verdict where JUnit files and plug-ins of pytest find them."""
        number = len(self._results)
        suffix = "" if number == 1 else f"_{number}"
        self._item.user_properties += [
            (f"foreshock_seed{suffix}", result.seed),
            (f"foreshock_verdict{suffix}", result.verdict),
            (f"foreshock_run{suffix}", str(result.run)),
        ]

    def _tell(self, result: TestResult) -> None:
        """What a failure that is not ours (a later assertion of the test) should be read with."""
        lines = [f"{result.verdict}: {result.reason}", tested(result.judgement), f"seed {result.seed}"]
        self._item.add_report_section(
            "call", "foreshock", "\n".join([*lines, *(f"again: {again}" for again in result.again)])
        )

    def _judge(self, result: TestResult, expect: str) -> None:
        __tracebackhide__ = True
        judgement = result.judgement
        kind: type[AssertionError]
        headline = judgement.reason
        if judgement.verdict == expect == "invalid":
            return
        if judgement.verdict == "invalid":
            kind = Invalid
        elif judgement.harness_errors or judgement.exit == ExitCode.HARNESS_ERROR:
            kind, headline = HarnessFailed, "; ".join(judgement.harness_errors) or judgement.reason
        elif judgement.verdict == "unknown":
            kind = Unknown
        elif expect == "invalid":
            kind, headline = NotFound, f"a violation was expected, and {judgement.reason}"
        else:
            return
        raise kind(describe_failure(headline, judgement, result.summary, result.again, result.reports))


def _table(options: Any) -> Mapping[str, Any]:
    __tracebackhide__ = True
    if isinstance(options, Mapping):
        for name in options:
            if not isinstance(name, str):
                raise Misused(f"options={options!r:.200} has the name {name!r:.100}, which is no text")
        return options
    raise Misused(f"options={options!r:.100} is no dict: give one, such as {{'kill': {{'targets': 'one'}}}}")


@contextlib.contextmanager
def _log_kept_apart() -> Iterator[None]:
    """The harness' log goes into the run's folder: pytest would keep every line of it in memory, and show them all."""
    logger = logging.getLogger("foreshock")
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
