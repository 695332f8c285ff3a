"""Everything that the page of one test says, put together from its stored run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from foreshock.harness.verdict import Verdict
from foreshock.reports.aggregates import OutcomeCounts, never_completed, outcome_counts
from foreshock.reports.cache_section import CacheSection, cache_section
from foreshock.reports.columns import OUTCOMES, Columns, columns_of
from foreshock.reports.explorer_data import ExplorerData, Violation, explorer_data
from foreshock.reports.fault_windows import FaultWindow, fault_windows
from foreshock.reports.lock_section import LockSection, lock_section
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.plots import Plot, axis_of, plots_of
from foreshock.reports.scales import counted, duration, number
from foreshock.reports.seismogram import seismogram
from foreshock.reports.stored_run import LogFile, StoredRun
from foreshock.reports.tables import (
    AroundFaultRow,
    CheckerRow,
    ErrorRow,
    OperationRow,
    Setting,
    around_faults,
    checker_rows,
    error_rows,
    notable_operations,
    plan_groups,
)
from foreshock.reports.violations import (
    LISTED_MAX,
    REASON_CHARACTERS_MAX,
    Found,
    ViolationPath,
    find_violations,
    invalid_without_example,
    moments,
    paths_of,
)

FAULT_ROWS_MAX = 500
FIGURES_MAX = 40
SENTENCE_CHARACTERS_MAX = 600


class Fact(NamedTuple):
    """A figure of the header. ``kind`` is an outcome where the figure counts one."""

    name: str
    value: str
    kind: str = ""


class Page(NamedTuple):
    """What the template is given. Every string is plain text and is escaped when it is written."""

    verdict: str
    sentence: str
    headline: tuple[str, ...]
    facts: tuple[Fact, ...]
    harness_errors: tuple[str, ...]
    notes: tuple[str, ...]
    seismogram: Markup | None
    paths: tuple[ViolationPath, ...]
    more: tuple[Found, ...]
    without_example: tuple[tuple[str, str], ...]
    replay: str
    analyze: str
    checkers: tuple[CheckerRow, ...]
    plots: tuple[Plot, ...]
    locks: LockSection | None
    cache: CacheSection | None
    kinds: tuple[tuple[str, str], ...]
    around: tuple[AroundFaultRow, ...]
    outcomes: tuple[OutcomeCounts, ...]
    errors: tuple[ErrorRow, ...]
    explorer: ExplorerData | None
    notable: tuple[OperationRow, ...]
    faults: tuple[FaultWindow, ...]
    faults_left_out: int
    plan: tuple[tuple[str, list[Setting]], ...]
    versions: tuple[tuple[str, str], ...]
    logs: tuple[tuple[str, tuple[LogFile, ...]], ...]
    files: tuple[str, ...]


def page_of(run: StoredRun) -> Page:
    """Put a page together. Raises :class:`HarnessError` when a file of the run cannot be understood."""
    columns = columns_of(run.history, at_least_ns=_known_end_ns(run))
    windows = fault_windows(run.faults, run.test.shades, columns.end_ns)
    found = find_violations(run, columns)
    violations = moments(found)
    marks = [violation.at_ns for violation in violations]
    paths = paths_of(run, columns, windows, found)
    results = run.results
    something = columns.total > 0 or bool(windows)
    axis = axis_of(columns, windows, marks)
    locks = lock_section(columns, axis)
    cache = cache_section(columns, axis, run.test.plan, results.figures if results else {})
    return Page(
        verdict=run.verdict.word,
        sentence=clip(_sentence(run), SENTENCE_CHARACTERS_MAX),
        headline=_headline(run),
        facts=_facts(run, columns, cache),
        harness_errors=tuple(
            clip(error, REASON_CHARACTERS_MAX) for error in (results.harness_errors if results else ())
        ),
        notes=tuple(_notes(run, columns)),
        seismogram=seismogram(columns, windows, marks) if something else None,
        paths=tuple(paths),
        more=tuple(found[len(paths) : len(paths) + LISTED_MAX]),
        without_example=tuple(invalid_without_example(run)),
        replay=run.replay,
        analyze=f"foreshock analyze {shlex.quote(str(run.path))}",
        checkers=tuple(checker_rows(run)),
        plots=tuple(plots_of(columns, axis)),
        locks=locks,
        cache=cache,
        kinds=tuple(dict.fromkeys((window.kind, window.color) for window in windows)),
        around=tuple(around_faults(run)[:FAULT_ROWS_MAX]),
        outcomes=tuple(outcome_counts(columns)),
        errors=tuple(error_rows(run)),
        explorer=_explorer(run, columns, windows, violations, locks, cache) if columns.total else None,
        notable=tuple(notable_operations(columns, violations)),
        faults=windows[:FAULT_ROWS_MAX],
        faults_left_out=max(0, len(windows) - FAULT_ROWS_MAX),
        plan=tuple(plan_groups(run.test.plan)),
        versions=tuple((str(name), str(version)) for name, version in run.test.versions.items()),
        logs=_grouped(run.logs),
        files=tuple(name for name in _FILES if (run.path / name).is_file()),
    )


def _explorer(
    run: StoredRun,
    columns: Columns,
    windows: tuple[FaultWindow, ...],
    violations: list[Violation],
    locks: LockSection | None,
    cache: CacheSection | None,
) -> ExplorerData:
    anomalies = [moment for section in (locks, cache) if section for moment in section.anomalies]
    beliefs = locks.beliefs if locks else None
    return explorer_data(columns, windows, violations, _concurrency(run), anomalies, beliefs)


_FILES = ("test.json", "results.json", "history.jsonl", "history.parquet", "faults.jsonl")


def _known_end_ns(run: StoredRun) -> int:
    """The last moment that the ledger tells of: a run may outlast its last operation."""
    times = [
        moment
        for fault in run.faults
        for moment in (fault.planned_ns, fault.verified_ns, fault.failed_ns, fault.healed_ns)
        if moment is not None
    ]
    return max(times, default=0)


def _sentence(run: StoredRun) -> str:
    if run.results is None:
        return "the harness ended before it wrote a verdict, so nothing was decided about this run"
    if run.results.reason:
        return run.results.reason
    return "every checker accepted the history" if run.verdict is Verdict.VALID else "no reason was stored"


def _headline(run: StoredRun) -> tuple[str, ...]:
    plan = run.test.plan
    parts = [plan.get(name) for name in ("target", "bug", "workload")]
    nemeses = plan.get("nemeses")
    parts.append(", ".join(map(str, nemeses)) if isinstance(nemeses, list | tuple) else nemeses)
    parts.append(plan.get("backend"))
    return tuple(value_text(part, 60).strip('"') for part in parts if part)


def _facts(run: StoredRun, columns: Columns, cache: CacheSection | None) -> tuple[Fact, ...]:
    counts = outcome_counts(columns)
    facts = [Fact("operations", number(columns.total))]
    facts += [Fact(kind, number(sum(getattr(row, kind) for row in counts)), kind) for kind in OUTCOMES]
    facts.append(Fact("faults", number(len(run.faults))))
    facts.append(Fact("history", duration(columns.end_ns) if columns.total else "empty"))
    nodes, seed = run.test.plan.get("nodes"), run.test.plan.get("seed")
    if isinstance(nodes, list | tuple):
        facts.append(Fact("nodes", number(len(nodes))))
    if seed is not None:
        facts.append(Fact("seed", value_text(seed, 24)))
    figures = run.results.figures if run.results else {}
    # What is no word or number is a table or a series, which has its place further down, if any.
    facts += [
        Fact(str(name).replace("_", " "), value_text(value, 40))
        for name, value in list(figures.items())[:FIGURES_MAX]
        if not isinstance(value, list | tuple | Mapping) and (cache is None or name == "hit_rate")
    ]
    if run.started is not None:
        facts.append(Fact("started", run.started.strftime("%Y-%m-%d %H:%M:%S %Z").strip()))
    return tuple(facts)


def _notes(run: StoredRun, columns: Columns) -> list[str]:
    """What a reader must know before believing the rest."""
    notes = []
    if run.results is None:
        notes.append(
            "This page shows what was recorded before the harness ended. The command below decides it."
        )
    elif run.results.interrupted:
        notes.append("The test was interrupted: the checkers judged what had been recorded until then.")
    if not columns.total:
        notes.append("The history is empty: no client operation was recorded.")
    if lost := never_completed(columns):
        notes.append(f"{counted(lost, 'operation')} never completed; what became of them is unknown (info).")
    left = sum(fault.is_open and fault.verified_ns is not None for fault in run.faults)
    if left:
        notes.append(f"{counted(left, 'fault')} not known to be healed: foreshock heal undoes what is left.")
    return notes


def _concurrency(run: StoredRun) -> int:
    concurrency = run.test.plan.get("concurrency")
    return concurrency if isinstance(concurrency, int) and concurrency > 0 else 0


def _grouped(logs: tuple[LogFile, ...]) -> tuple[tuple[str, tuple[LogFile, ...]], ...]:
    groups: dict[str, list[LogFile]] = {}
    for log in logs:
        groups.setdefault(log.node, []).append(log)
    return tuple((node, tuple(group)) for node, group in groups.items())
