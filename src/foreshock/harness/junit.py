"""JUnit's XML, which every CI system reads: one test case a test, one suite a place in the matrix.

What is written keeps to the schema that Jenkins publishes (``junit-10.xsd``), to which pytest's ``xunit2`` keeps as
well. There a test case has no properties, so those of a suite name the run of each of its tests.

* An ``invalid`` test is a ``failure``, and so is a flaky one: a violation that comes and goes is a violation.
* What the harness could not do is an ``error``, and ``unknown`` is one, too: it is no pass, and must not look green.
* A test that was not run, or was interrupted, is ``skipped``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from foreshock.harness.campaign.document import Attempt, CampaignDocument, CampaignRow
from foreshock.harness.store import write_whole
from foreshock.harness.summary import TestSummary

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold in any form (section 2.2, Char)."""
_TAGS = ("failure", "error", "skipped")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One test of a suite. ``tag`` is ``failure``, ``error``, ``skipped``, or empty for a pass."""

    suite: str
    """Where it has its place: target, workload, nemesis, backend, and what else there is, parted by ``/``."""
    name: str
    seed: int
    seconds: float = 0.0
    started: str = ""
    tag: str = ""
    kind: str = ""
    message: str = ""
    run: str = ""
    replay: str = ""


def case_of(summary: TestSummary, *, suite: str = "", name: str = "") -> Case:
    """The test case of one finished test."""
    tag, kind, message = _outcome(summary)
    place = (summary.target, summary.workload, ",".join(summary.nemeses), summary.backend, summary.bug)
    return Case(
        suite=suite or "/".join(part for part in place if part),
        name=name or f"seed {summary.seed}",
        seed=summary.seed,
        seconds=summary.duration_s,
        started=summary.started,
        tag=tag,
        kind=kind,
        message=message,
        run=summary.run,
        replay=summary.replay,
    )


def cases_of(document: CampaignDocument) -> list[Case]:
    """The test cases of a campaign, those that were not run included."""
    return [_case_of_row(row) for row in document.rows]


def write_junit(path: Path, name: str, cases: Sequence[Case], *, seconds: float | None = None) -> Path:
    """Write the file, whole or not at all; raises :class:`HarnessError` when the disk does not take it."""
    root = ElementTree.Element("testsuites", {"name": _clean(name), **_counts(cases, seconds)})
    root.attrib.pop("skipped")  # which the schema knows of suites alone
    suites: dict[str, list[Case]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    for number, (suite, of_suite) in enumerate(suites.items()):
        root.append(_suite(number, suite, of_suite))
    ElementTree.indent(root)
    data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    write_whole(path, data + b"\n")
    return path


def _outcome(summary: TestSummary) -> tuple[str, str, str]:
    """The element, its type and its message."""
    if summary.verdict == "invalid":
        return "failure", summary.checker or "invalid", summary.reason
    if summary.interrupted:
        return "skipped", "", f"interrupted: {summary.reason}"
    if summary.harness_errors:
        return "error", "harness error", summary.harness_errors[0]
    return ("", "", "") if summary.verdict == "valid" else ("error", "unknown", summary.reason)


def _case_of_row(row: CampaignRow) -> Case:
    suite = "/".join(f"{value}" for value in row.cell.values() if value not in ("", "none"))
    name = f"seed {row.seed}"
    # An attempt that was lost with its worker says nothing where another one came to an end.
    ends = [attempt for attempt in row.attempts if attempt.summary is not None] or row.attempts
    attempts = [(attempt, _of_attempt(attempt)) for attempt in ends]
    if row.outcome in ("waiting", "running") or not attempts:
        return Case(suite=suite, name=name, seed=row.seed, tag="skipped", message="it was not run")
    order = (*_TAGS, "")
    attempt, (tag, kind, message) = min(attempts, key=lambda each: order.index(each[1][0]))
    if row.outcome == "flaky":
        bad = sum(each[1][0] == tag for each in attempts)
        kind, message = "flaky", f"in {bad} of {len(attempts)} attempts: {message}"
    summary = attempt.summary
    case = Case(
        suite=suite, name=name, seed=row.seed, seconds=attempt.seconds, tag=tag, kind=kind, message=message
    )
    if summary is None:
        return case
    return msgspec.structs.replace(case, started=summary.started, run=summary.run, replay=summary.replay)


def _of_attempt(attempt: Attempt) -> tuple[str, str, str]:
    if attempt.summary is None:
        return "error", "harness error", attempt.error or "it was lost"
    return _outcome(attempt.summary)


def _suite(number: int, name: str, cases: Sequence[Case]) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite", {"name": _clean(name), "id": str(number), **_counts(cases, None)}
    )
    started = min((case.started for case in cases if case.started), default="")
    if started:
        suite.set("timestamp", _clean(started)[:19])
    properties = ElementTree.SubElement(suite, "properties")
    _property(properties, "seeds", " ".join(str(case.seed) for case in cases))
    for case in cases:
        if case.run:
            _property(properties, f"run of {case.name}", case.run)
    suite.extend(_testcase(case) for case in cases)
    return suite


def _property(properties: ElementTree.Element, name: str, value: str) -> None:
    ElementTree.SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})


def _testcase(case: Case) -> ElementTree.Element:
    # Jenkins takes what stands before the last dot of a class name for a package.
    parts = [part.replace(".", "_") for part in case.suite.split("/")]
    attributes = {
        "name": case.name,
        "classname": ".".join(("foreshock", *parts)),
        "time": _seconds(case.seconds),
    }
    element = ElementTree.Element("testcase", {key: _clean(value) for key, value in attributes.items()})
    if case.tag:
        problem = (
            {"message": case.message}
            if case.tag == "skipped"
            else {"type": case.kind, "message": case.message}
        )
        child = ElementTree.SubElement(
            element, case.tag, {key: _clean(text) for key, text in problem.items()}
        )
        if case.tag != "skipped":
            again = f"\nagain: {case.replay}" if case.replay else ""
            child.text = _clean(f"{case.message}{again}")
    said: Mapping[str, str] = {"seed": str(case.seed), "run": case.run, "again": case.replay}
    lines = [f"{key}: {value}" for key, value in said.items() if value]
    ElementTree.SubElement(element, "system-out").text = _clean("\n".join(lines))
    return element


def _counts(cases: Sequence[Case], seconds: float | None) -> dict[str, str]:
    tags = [case.tag for case in cases]
    whole = sum(case.seconds for case in cases) if seconds is None else seconds
    return {
        "tests": str(len(cases)),
        "failures": str(tags.count("failure")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
        "time": _seconds(whole),
    }


def _seconds(value: float) -> str:
    return f"{max(0.0, value):.3f}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
