"""The test of a stored run, to be run again: from what ``test.json`` says, whatever has changed around it since.

The file has what the user asked for and the plan that came of it. Asked again, the same words may come to another
plan, for a default may have changed, or the file of a schedule; then every setting is taken from the plan instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.plan import Plan, Resolved, resolve
from foreshock.harness.registry import look_in
from foreshock.harness.request import Request
from foreshock.harness.runner import versions
from foreshock.harness.schedule_file import SECOND_NS, ScheduledFault
from foreshock.harness.schedule_record import entry_text
from foreshock.harness.store import TEST, read_json

SCHEDULES: Final = "schedules"
"""The folder of the store that takes schedules of tests that are run again."""
_DIGEST_CHARACTERS: Final = 8


class StoredTest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``test.json`` of a run says. ``directory`` is where its command was given, if that is known."""

    run: Path
    plan: Plan
    request: Request
    simulated: bool
    versions: Mapping[str, str]
    directory: str = ""


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """The test of a stored run, ready to be run. ``changed`` names the settings that are other than they were.

    ``pinned`` are settings that the same words would set otherwise today: they were taken from the plan.
    """

    resolved: Resolved
    changed: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()


def read_test(run: Path) -> StoredTest:
    """What the run in this folder says of its test; raises :class:`HarnessError` naming the file."""
    test = read_json(run / TEST)
    try:
        plan = msgspec.convert(test["plan"], Plan)
        request = msgspec.convert(test["request"], Request)
        known = msgspec.convert(test.get("versions", {}), dict[str, str])
    except (KeyError, msgspec.ValidationError) as error:
        raise HarnessError(f"{run / TEST} does not hold a test that can be run again: {error}") from None
    return StoredTest(
        run=run,
        plan=plan,
        request=msgspec.structs.replace(request, backend=plan.backend, seed=plan.seed),
        simulated=test.get("simulated") is True,
        versions=known,
        directory=str(test.get("directory") or ""),
    )


def run_again(stored: StoredTest, store: Path) -> Again:
    """The stored test with its plan, made anew. A schedule whose file is gone or changed is written into the store.

    Raises what :func:`foreshock.harness.plan.resolve` does: what the test names must be there.
    """
    if stored.directory:
        look_in(Path(stored.directory))
    request = with_schedule(stored, stored.request, store)
    resolved = resolve(request)
    pinned = tuple(_settings_that_differ(stored.plan, resolved.plan))
    if not pinned:
        return Again(resolved=resolved)
    resolved = resolve(_every_setting(request, stored.plan))
    changed = tuple(_settings_that_differ(stored.plan, resolved.plan))
    return Again(resolved=resolved, changed=changed, pinned=tuple(p for p in pinned if p not in changed))


def with_schedule(stored: StoredTest, request: Request, store: Path) -> Request:
    """The request with a file that has the plan's schedule: the user's own, if it still says the same."""
    if request.schedule is None or stored.plan.schedule is None:
        return request
    for path in (Path(request.schedule), Path(stored.directory) / request.schedule):
        asked = msgspec.structs.replace(request, schedule=str(path))
        try:
            if path.is_file() and resolve(asked).plan.schedule == stored.plan.schedule:
                return asked
        except UsageError:
            continue  # it was changed into what this test cannot take
    path = write_schedule(store, stored.run.name, stored.plan.schedule, "What this test was asked for.")
    return msgspec.structs.replace(request, schedule=str(path))


def version_changes(stored: StoredTest) -> list[str]:
    """The programs whose versions are others now, each as ``name: then -> now``."""
    now = versions()
    return [
        f"{name}: {then} -> {now.get(name, 'not known')}"
        for name, then in stored.versions.items()
        if now.get(name) != then
    ]


def schedule_text(faults: Iterable[ScheduledFault], head: str) -> str:
    """Scheduled faults as the TOML file that says them."""
    entries = []
    for fault in sorted(faults, key=lambda each: each.at_ns):
        entry = entry_text(fault.at_ns, fault.do, fault.value)
        if fault.stop is not None:
            entry += f"for = {fault.lasts_ns / SECOND_NS:.9f}\n"
        entries.append(_without_noughts(entry))
    return "".join(f"# {line}\n" for line in head.splitlines()) + "\n" + "\n".join(entries)


def write_schedule(store: Path, name: str, faults: Iterable[ScheduledFault], head: str) -> Path:
    """Write a schedule into the store, under a name that no other content gets; raises :class:`HarnessError`."""
    text = schedule_text(faults, head)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    path = store / SCHEDULES / f"{name}-{digest}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"the schedule {path} cannot be written: {error.strerror}") from error
    return path


def scheduled(request: Request, plan: Plan, schedule: Path) -> Request:
    """The request with its faults from a schedule, in place of those that its nemeses would draw."""
    default = Request()
    return msgspec.structs.replace(
        request,
        nemesis=",".join(plan.nemeses) or default.nemesis,
        mix=default.mix,
        intensity=default.intensity,
        interval=default.interval,
        quiet_windows=None,
        schedule=str(schedule),
    )


def _without_noughts(entry: str) -> str:
    """Times as a person would write them: ``4.5``, not ``4.500000000``."""
    return re.sub(r"(?m)^((?:at|for) = \d+\.\d+?)0+$", r"\1", entry)


def _settings_that_differ(then: Plan, now: Plan) -> Iterable[str]:
    before, after = _flat(msgspec.to_builtins(then)), _flat(msgspec.to_builtins(now))
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key):
            yield key


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a plan by its name; those of options by owner and name."""
    found = {key: value for key, value in plan.items() if key != "options"}
    for owner, options in plan["options"].items():
        found |= {f"{owner}.{name}": value for name, value in options.items()}
    return found


def _every_setting(request: Request, plan: Plan) -> Request:
    """The request with every setting that the plan has, so that no default of today counts."""
    options = {
        f"{owner}.{name}": value
        for owner, own in plan.options.items()
        for name, value in own.items()
        if value is not None
    }
    return msgspec.structs.replace(
        request,
        nodes=",".join(plan.nodes),
        concurrency=str(plan.concurrency),
        rate=plan.rate,
        time_limit=plan.time_limit_s,
        interval=plan.interval_s,
        operation_timeout_ms=plan.operation_timeout_ms,
        recovery_time=plan.recovery_time_s,
        ready_timeout=plan.ready_timeout_s,
        deadline=plan.deadline_s,
        memory=str(plan.memory_bytes),
        options=options,
    )
