"""Two stored runs compared: plan, verdicts, outcomes, rate, latency, recovery, and where their histories part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from foreshock.harness.comparison import (
    CheckerRow,
    Difference,
    Divergence,
    Figure,
    OutcomeRow,
    RecoveryRow,
    RunComparison,
    Side,
)
from foreshock.harness.store import HISTORY
from foreshock.harness.verdict import Verdict
from foreshock.reports.aggregates import outcome_counts
from foreshock.reports.columns import OK, Columns, Mask, columns_of
from foreshock.reports.compare_statistics import (
    SLICES,
    SLICES_IN_BLOCK,
    Interval,
    in_words,
    quantile_ratio,
    rank_test,
    rate_ratio,
    resample,
    sample_of,
)
from foreshock.reports.fault_windows import FaultWindow, fault_windows
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.scales import NS_PER_S, counted, duration
from foreshock.reports.stored_run import StoredRun, read_run

QUANTILES: Final = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
ALL: Final = "all operations"
CALM: Final = "while no fault was in force"
STRICKEN: Final = "while a fault was in force"
NAMES_MAX = 6
SETTINGS_MAX = 200
NOT_THERE: Final = "not there"
_VALUE_CHARACTERS_MAX = 160
_P_MAX = 0.05


class ReadRun(NamedTuple):
    """A run with what is computed of it."""

    run: StoredRun
    columns: Columns
    windows: tuple[FaultWindow, ...]

    @property
    def seconds(self) -> float:
        """How long its history is."""
        return self.columns.end_ns / NS_PER_S


def read_side(path: Path) -> ReadRun:
    """Read a run. Raises :class:`HarnessError` naming the file that cannot be understood."""
    run = read_run(path)
    columns = columns_of(run.history)
    return ReadRun(run, columns, fault_windows(run.faults, run.test.shades, columns.end_ns))


def compare_runs(first: ReadRun, second: ReadRun) -> RunComparison:
    """All that can be said of two runs; ``page`` is not set."""
    one, other = _settings(first.run.test.plan), _settings(second.run.test.plan)
    settings = differences(one, other)
    versions = differences(_texts(first.run.test.versions), _texts(second.run.test.versions))
    seeds = [side.run.test.plan.get("seed") for side in (first, second)]
    same_plan = all(each.setting == "seed" for each in settings)
    same_seed = seeds[0] == seeds[1] and seeds[0] is not None
    simulated = all(side.run.test.plan.get("backend") == "sim" for side in (first, second))
    divergence = diverge(first.run.path, second.run.path) if same_seed and simulated else None
    return RunComparison(
        first=_side(first),
        second=_side(second),
        summary=_summary(first, second, settings, divergence),
        same_plan=same_plan,
        same_seed=same_seed,
        settings=tuple(settings[:SETTINGS_MAX]),
        equal_settings=sum(one.get(name) == value for name, value in other.items()),
        versions=tuple(versions[:SETTINGS_MAX]),
        checkers=_checkers(first.run, second.run),
        outcomes=_outcomes(first.columns, second.columns),
        figures=tuple(_the_same(_figures(first, second), divergence)),
        recoveries=tuple(_recoveries(first.run, second.run)),
        divergence=divergence,
        notes=tuple(_notes(first, second, divergence, same_seed=same_seed, simulated=simulated)),
    )


def _the_same(figures: Iterable[Figure], divergence: Divergence | None) -> Iterable[Figure]:
    """Of one and the same history nothing needs to be told from noise."""
    if divergence is None or divergence.event is not None:
        return figures
    return [
        msgspec.structs.replace(f, low=None, high=None, told=None, says="the same history") for f in figures
    ]


def _notes(
    first: ReadRun, second: ReadRun, divergence: Divergence | None, *, same_seed: bool, simulated: bool
) -> Iterable[str]:
    if divergence is not None and divergence.event is None:
        return
    yield (
        "Noise is what varies within these two runs, block of time by block of time. What varies from run to run "
        "is not seen by two runs: compare campaigns of many seeds to be sure. And of twenty figures that do "
        "not differ one is told apart by chance."
    )
    if simulated and not same_seed:
        yield (
            "The seeds differ, and in the simulator a seed also draws how fast the network and the disks are: "
            "latencies of two seeds differ for that alone."
        )
    if long := list(_longer_than_a_block((("A", first), ("B", second)))):
        yield (
            f"The longest fault lasted longer than a block ({'; '.join(long)}). What it slowed down fills several, so "
            "that intervals are narrower than they should be: longer tests, or shorter faults, tell more."
        )
    for letter, side in (("A", first), ("B", second)):
        if side.run.results is None:
            yield f"{letter} has no verdict: its harness ended before it wrote one. 'foreshock analyze' decides it."
        elif side.run.results.interrupted:
            yield f"{letter} was interrupted: its figures are of what had been recorded until then."
        if not side.columns.total:
            yield f"{letter} recorded no operation of a client."


def _longer_than_a_block(sides: Iterable[tuple[str, ReadRun]]) -> Iterable[str]:
    for letter, side in sides:
        block_ns = side.columns.end_ns * SLICES_IN_BLOCK / SLICES
        longest_ns = max((window.end_ns - window.start_ns for window in side.windows), default=0)
        if longest_ns > block_ns:
            yield f"in {letter} it lasted {duration(longest_ns)}, and a block is {duration(block_ns)}"


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[Difference]:
    """The settings that differ, in the order of the first side, then of the second."""
    return [
        Difference(setting=name, first=one.get(name, NOT_THERE), second=other.get(name, NOT_THERE))
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    ]


def _settings(plan: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a plan as text; an option is named for its owner, too."""
    found: dict[str, Any] = {name: value for name, value in plan.items() if name != "options"}
    options = plan.get("options")
    for owner, typed in options.items() if isinstance(options, Mapping) else ():
        if isinstance(typed, Mapping):
            found |= {f"{owner}.{name}": value for name, value in typed.items()}
        else:
            found[str(owner)] = typed
    return _texts(found)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): setting_text(value) for name, value in values.items()}


def setting_text(value: Any) -> str:
    """A setting as a person reads it."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple) and all(isinstance(part, str | int | float) for part in value):
        return clip(", ".join(map(str, value)) or "none", _VALUE_CHARACTERS_MAX)
    return (
        clip(value, _VALUE_CHARACTERS_MAX)
        if isinstance(value, str)
        else value_text(value, _VALUE_CHARACTERS_MAX)
    )


def _side(side: ReadRun) -> Side:
    plan, run = side.run.test.plan, side.run
    nemeses = plan.get("nemeses")
    parts = [plan.get("target"), plan.get("bug"), plan.get("workload")]
    parts += [
        ",".join(map(str, nemeses)) if isinstance(nemeses, list | tuple) else nemeses,
        plan.get("backend"),
    ]
    seed = plan.get("seed")
    return Side(
        path=str(run.path),
        name=run.path.name,
        what=" ".join(clip(str(part), 80) for part in parts if part),
        verdict=run.verdict.word,
        reason=run.results.reason if run.results else "the harness ended before it wrote a verdict",
        started=run.test.started,
        seed=seed if isinstance(seed, int) else None,
        seconds=side.seconds,
        complete=run.results is not None and not run.results.interrupted,
    )


def _summary(
    first: ReadRun, second: ReadRun, settings: Sequence[Difference], divergence: Divergence | None
) -> str:
    names = [each.setting for each in settings]
    if not names:
        said = "The same plan, the same seed"
    elif names == ["seed"]:
        said = "The same plan, another seed"
    else:
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        said = f"{counted(len(names), 'setting')} {'differs' if len(names) == 1 else 'differ'}: {listed}"
    if divergence is not None and divergence.event is None:
        return f"{said}: the same history, byte for byte"
    words = [side.run.verdict.word for side in (first, second)]
    judged = f"both {words[0]}" if words[0] == words[1] else f"A {words[0]}, B {words[1]}"
    return f"{said}; {judged}"


def _checkers(first: StoredRun, second: StoredRun) -> tuple[CheckerRow, ...]:
    one, other = (run.results.checkers if run.results else {} for run in (first, second))
    rows = []
    for name in dict.fromkeys((*one, *other)):
        a, b = one.get(name), other.get(name)
        rows.append(
            CheckerRow(
                checker=name,
                first=Verdict.of_word(a.verdict).word if a else "",
                second=Verdict.of_word(b.verdict).word if b else "",
                first_reason=clip(a.reason, 400) if a else "",
                second_reason=clip(b.reason, 400) if b else "",
            )
        )
    return tuple(rows)


def _outcomes(first: Columns, second: Columns) -> tuple[OutcomeRow, ...]:
    one, other = ({row.f: row for row in outcome_counts(columns)} for columns in (first, second))
    rows = []
    for f in dict.fromkeys((*one, *other)):
        counts = [(row.ok, row.fail, row.info) if row else (0, 0, 0) for row in (one.get(f), other.get(f))]
        rows.append(OutcomeRow(f=f, first=counts[0], second=counts[1]))
    return tuple(rows)


def _figures(first: ReadRun, second: ReadRun) -> Iterable[Figure]:
    yield _rate(first, second)
    yield _ok_share(first, second)
    masks = [_masks(side) for side in (first, second)]
    for group in [ALL, CALM, STRICKEN, *_shared_names(first.columns, second.columns)]:
        samples = []
        for side, known in zip((first, second), masks, strict=True):
            columns = side.columns
            chosen = known.get(group, np.zeros(columns.total, dtype=np.bool_))
            samples.append(sample_of(columns.invoke_ns, columns.latency_ns, columns.end_ns, chosen))
        if not any(sample.size for sample in samples):
            continue
        resampled = [resample(sample, stream) for stream, sample in enumerate(samples, start=1)]
        for share, name in QUANTILES:
            interval = quantile_ratio(resampled[0], resampled[1], share)
            values = [sample.quantile(share) for sample in samples]
            yield _figure(group, name, "ns", values[0], values[1], interval, in_words(interval))
        longest = [sample.quantile(1.0) for sample in samples]
        yield _figure(group, "max", "ns", longest[0], longest[1], None, "one operation of each")


def _figure(
    group: str,
    name: str,
    unit: str,
    first: float | None,
    second: float | None,
    interval: Interval | None,
    says: str,
) -> Figure:
    return Figure(
        group=group,
        name=name,
        unit=unit,
        first=first,
        second=second,
        ratio=second / first if first and second is not None else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        told=interval.told_from(1.0) if interval else None,
        says=says,
    )


def _masks(side: ReadRun) -> dict[str, Mask]:
    columns = side.columns
    ok = (columns.outcome == OK) & columns.completed
    stricken = _within(columns, side.windows)
    masks: dict[str, Mask] = {ALL: ok, CALM: ok & ~stricken, STRICKEN: ok & stricken}
    return masks | {name: ok & (columns.f == code) for code, name in enumerate(columns.f_names)}


def _shared_names(first: Columns, second: Columns) -> list[str]:
    names = [row.f for row in outcome_counts(first)]
    return [name for name in names if name in second.f_names][:NAMES_MAX]


def _within(columns: Columns, windows: Sequence[FaultWindow]) -> Mask:
    """Which operations began while a fault was in force."""
    starts = np.sort(np.array([window.start_ns for window in windows], dtype=np.int64))
    ends = np.sort(np.array([window.end_ns for window in windows], dtype=np.int64))
    begun = np.searchsorted(starts, columns.invoke_ns, side="right")
    return np.asarray(begun > np.searchsorted(ends, columns.invoke_ns, side="left"), dtype=np.bool_)


def _rate(first: ReadRun, second: ReadRun) -> Figure:
    counts = []
    for side in (first, second):
        columns = side.columns
        at = np.clip(columns.settled_ns * SLICES // columns.end_ns, 0, SLICES - 1)
        counts.append(np.bincount(at[columns.outcome == OK], minlength=SLICES).astype(np.float64))
    interval = rate_ratio(counts[0], counts[1], first.seconds, second.seconds)
    rates = [float(each.sum()) / side.seconds for each, side in zip(counts, (first, second), strict=True)]
    return _figure(
        ALL, "ok operations", "/s", rates[0], rates[1], interval, in_words(interval, "did", "as many")
    )


def _ok_share(first: ReadRun, second: ReadRun) -> Figure:
    shares = []
    for side in (first, second):
        columns = side.columns
        shares.append(float(np.mean(columns.outcome == OK)) if columns.total else None)
    return _figure(ALL, "ended ok", "share", shares[0], shares[1], None, "of all operations")


def _recoveries(first: StoredRun, second: StoredRun) -> Iterable[RecoveryRow]:
    sides = [_around(run) for run in (first, second)]
    for kind in sorted({*sides[0], *sides[1]}):
        entries = [side.get(kind, []) for side in sides]
        taken = [
            np.array([e["recovery_ms"] for e in each if _is_number(e.get("recovery_ms"))], dtype=np.float64)
            for each in entries
        ]
        during = [[e["during"] for e in each if _is_number(e.get("during"))] for each in entries]
        test = rank_test(taken[0], taken[1])
        yield RecoveryRow(
            kind=kind,
            first_count=len(entries[0]),
            second_count=len(entries[1]),
            first_during=_mean(during[0]),
            second_during=_mean(during[1]),
            first_median_ms=_median(taken[0]),
            second_median_ms=_median(taken[1]),
            first_max_ms=float(taken[0].max()) if len(taken[0]) else None,
            second_max_ms=float(taken[1].max()) if len(taken[1]) else None,
            longer=test.longer if test else None,
            told=test.p <= _P_MAX if test else None,
            says=_recovery_words(test.longer, test.p) if test else "too few faults to tell",
        )


def _recovery_words(longer: float, p: float) -> str:
    share = f"B took longer in {longer * 100:.0f} % of pairs (p = {max(p, 0.001):.2g})"
    return f"more than noise: {share}" if p <= _P_MAX else f"cannot be told from noise: {share}"


def _around(run: StoredRun) -> dict[str, list[Mapping[str, Any]]]:
    """What the statistics checker measured around each fault, by its kind."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for check in run.results.checkers.values() if run.results else ():
        availability = check.details.get("availability")
        around = availability.get("around_faults") if isinstance(availability, Mapping) else None
        for entry in around if isinstance(around, list | tuple) else ():
            if isinstance(entry, Mapping):
                found.setdefault(str(entry.get("kind", "")), []).append(entry)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _median(values: Any) -> float | None:
    return float(np.median(values)) if len(values) else None


def diverge(first: Path, second: Path) -> Divergence | None:
    """Where the stored histories of two runs part, line by line; ``None`` where one is not there."""
    try:
        with (first / HISTORY).open("rb") as one, (second / HISTORY).open("rb") as other:
            before, events = b"", 0
            for a, b in zip_longest(one, other, fillvalue=b""):
                if a != b:
                    return _parted(events, before, a, b)
                before, events = a, events + 1
    except OSError:
        return None
    return Divergence(event=None, events=events)


def _parted(event: int, before: bytes, first: bytes, second: bytes) -> Divergence:
    at = [event_ns for line in (first, second) if (event_ns := _event_ns(line)) is not None]
    return Divergence(
        event=event,
        events=event,
        at_s=min(at) / NS_PER_S if at else None,
        before=_event_words(before),
        first=_event_words(first),
        second=_event_words(second),
    )


def _event(line: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _event_ns(line: bytes) -> int | None:
    at = _event(line).get("time_ns")
    return at if isinstance(at, int) else None


def _event_words(line: bytes) -> str:
    """An event of a history in one line: when, who, what, with what."""
    event = _event(line)
    if not event:
        return clip(line.decode(errors="replace").strip(), 200)
    at, told = event.get("time_ns"), [f"{event.get('f', '?')} {event.get('type', '?')}"]
    when = f"{at / NS_PER_S:.9f} s" if isinstance(at, int) else "at no time"
    told += [
        f"{name} {value_text(event[name], 60)}"
        for name in ("key", "value", "result", "error", "node")
        if event.get(name) is not None
    ]
    return clip(f"{when}: process {event.get('process', '?')}: {', '.join(told)}", 300)
