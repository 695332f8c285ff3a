"""The part of a page that is about a cache: how old what was read was, how often it was a copy, the origin's load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from foreshock.reports.aggregates import buckets_for
from foreshock.reports.cache_plots import ages_over_time_plot, ages_plot, hits_plot, origin_plot
from foreshock.reports.columns import Columns, Integers
from foreshock.reports.explorer_data import Moment
from foreshock.reports.lock_section import Zoom, zoom_of
from foreshock.reports.operation_text import value_text
from foreshock.reports.plots import Axis, Plot
from foreshock.reports.read_ages import Ages, is_cache_history, read_ages
from foreshock.reports.scales import NS_PER_MS, counted, duration, moment, number, percent

OLDEST_MAX = 15
OLDEST_ANOMALIES_MAX = 8
NODES_MAX = 30
_BOUND_MS_MAX = 10**10
_COUNT_MAX = 1 << 53
_QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


class AgeRow(NamedTuple):
    """The ages of what was read through one node, or through all: quantiles of those that were overwritten."""

    where: str
    gets: int
    stale: int
    share: str
    p50: str
    p99: str
    most: str
    versions: str


class OldRow(NamedTuple):
    """A get that returned what had long been overwritten."""

    key: str
    returned: str
    process: int
    node: str
    at: str
    age: str
    versions: str
    zoom: Zoom


class CacheSection(NamedTuple):
    """What the template is given. ``figures`` are words and values; ``quantiles`` name, time and versions."""

    sentences: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    quantiles: tuple[tuple[str, str, str], ...]
    plots: tuple[Plot, ...]
    by_node: tuple[AgeRow, ...]
    nodes_left_out: int
    oldest: tuple[OldRow, ...]
    anomalies: tuple[Moment, ...]


def cache_section(
    columns: Columns, axis: Axis, plan: Mapping[str, Any], figures: Mapping[str, Any]
) -> CacheSection | None:
    """The part about a cache; ``None`` where the history has no gets and puts. ``figures`` are those of the target."""
    if not is_cache_history(columns):
        return None
    ages = read_ages(columns)
    promise, bound_ns = _promise(plan)
    plots: list[Plot] = []
    if len(ages.position):
        plots.append(ages_plot(ages, bound_ns))
    if ages.age_versions.any():
        plots.append(ages_over_time_plot(columns, ages, buckets_for(columns.end_ns), axis, bound_ns))
    over_time = _over_time(figures)
    if over_time is not None:
        plots += [hits_plot(over_time, axis), origin_plot(over_time, axis)]
    oldest = list(_oldest(columns, ages))
    return CacheSection(
        sentences=(promise, *_sentences(ages)),
        figures=tuple(_figures(figures)),
        quantiles=tuple(_quantiles(ages)),
        plots=tuple(plots),
        by_node=tuple(list(_by_node(columns, ages))[: NODES_MAX + 1]),
        nodes_left_out=max(0, len(columns.node_names) - NODES_MAX),
        oldest=tuple(row for _, row in oldest),
        anomalies=tuple(
            Moment(at_ns, f"old read: {row.age} behind, key {row.key}")
            for at_ns, row in oldest[:OLDEST_ANOMALIES_MAX]
        ),
    )


def _promise(plan: Mapping[str, Any]) -> tuple[str, int | None]:
    """What the test demanded, in words, and the bound on ages where there is one."""
    options = plan.get("options")
    own = options.get("workload", options) if isinstance(options, Mapping) else {}
    demanded = own.get("consistency") if isinstance(own, Mapping) else None
    bound_ms = own.get("staleness_bound_ms") if isinstance(own, Mapping) else None
    if not isinstance(demanded, str):
        return "", None
    if demanded == "linearizable" or not isinstance(bound_ms, int | float):
        return f"The test demanded: {demanded}.", None
    bound_ns = round(max(0, min(bound_ms, _BOUND_MS_MAX)) * NS_PER_MS)
    return f"The test demanded: {demanded}, nothing older than {duration(bound_ns)}.", bound_ns


def _sentences(ages: Ages) -> Iterable[str]:
    total, stale = len(ages.position), int(np.count_nonzero(ages.age_versions))
    if not total:
        yield "No get returned what anybody had written."
    elif not stale:
        yield f"None of {counted(total, 'get')} returned what had certainly been overwritten."
    else:
        yield (
            f"{number(stale)} of {counted(total, 'get')} ({percent(stale / total)}) returned what had certainly been "
            f"overwritten, for {duration(int(ages.age_ns.max()))} at most."
        )
    if ages.unknown:
        yield f"{counted(ages.unknown, 'get')} returned what nobody had written."
    if ages.uncounted:
        yield f"Of {counted(ages.uncounted, 'get')} the versions were not counted: too many updates lay between."


def _quantiles(ages: Ages) -> Iterable[tuple[str, str, str]]:
    counted_versions = ages.age_versions[ages.age_versions >= 0]
    if not len(ages.age_ns) or not len(counted_versions):
        return
    times = np.quantile(ages.age_ns, _QUANTILES, method="nearest").tolist()
    versions = np.quantile(counted_versions, _QUANTILES, method="nearest").tolist()
    for share, age_ns, behind in zip(_QUANTILES, times, versions, strict=True):
        name = "max" if share == 1 else f"p{share * 100:g}"
        yield name, "current" if age_ns == 0 else duration(age_ns), number(behind)


def _figures(figures: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The target's figures about its cache, as the page names them."""
    for name, value in figures.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        share = name.endswith("rate") and 0 <= value <= 1
        plain = number(value) if -_COUNT_MAX < value < _COUNT_MAX else value_text(value, 24)
        yield name.replace("_", " "), percent(value) if share else plain


def _over_time(figures: Mapping[str, Any]) -> dict[str, Integers] | None:
    """The target's counts over time where it gave any that can be drawn: equally long, of buckets in ms."""
    told = figures.get("over_time")
    bucket_ms = told.get("bucket_ms") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or type(bucket_ms) is not int or not 0 < bucket_ms < _BOUND_MS_MAX:
        return None
    series = {}
    for name in ("hits", "misses", "bypasses", "writes"):
        counts = told.get(name)
        if not isinstance(counts, list | tuple) or not all(
            type(count) is int and 0 <= count < 1 << 53 for count in counts
        ):
            return None
        series[name] = np.array(counts[:2_000], dtype=np.int64)
    if len({len(counts) for counts in series.values()}) != 1 or not len(series["hits"]):
        return None
    return {"bucket_ns": np.array([bucket_ms * NS_PER_MS]), **series}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _COUNT_MAX


def _by_node(columns: Columns, ages: Ages) -> Iterable[AgeRow]:
    yield _age_row("all", ages.age_ns, ages.age_versions)
    nodes = columns.node[ages.position]
    for code, name in enumerate(columns.node_names):
        mine = nodes == code
        if mine.any():
            yield _age_row(name, ages.age_ns[mine], ages.age_versions[mine])


def _age_row(where: str, age_ns: Integers, versions: Integers) -> AgeRow:
    stale = versions != 0
    count = int(np.count_nonzero(stale))
    figures = np.quantile(age_ns[stale], (0.5, 0.99, 1.0), method="nearest").tolist() if count else []
    p50, p99, most = (duration(figure) for figure in figures) if figures else ("", "", "")
    behind = number(int(versions.max(initial=0))) if count else ""
    share = percent(count / len(age_ns)) if len(age_ns) else ""
    return AgeRow(where, len(age_ns), count, share, p50, p99, most, behind)


def _oldest(columns: Columns, ages: Ages) -> Iterable[tuple[int, OldRow]]:
    """The gets whose answers were oldest, with when they were called."""
    order = np.argsort(-ages.age_ns, kind="stable")[:OLDEST_MAX]
    order = order[ages.age_ns[order] > 0]
    chosen = ages.position[order]
    keys, results = columns.values("key", chosen), columns.values("result", chosen)
    for place, position, key, result in zip(order.tolist(), chosen.tolist(), keys, results, strict=True):
        called, returned = int(columns.invoke_ns[position]), int(columns.complete_ns[position])
        age_ns, versions = int(ages.age_ns[place]), int(ages.age_versions[place])
        yield (
            called,
            OldRow(
                key=value_text(key),
                returned="absent" if result is None else value_text(result),
                process=int(columns.process[position]),
                node=columns.node_of(position),
                at=moment(called),
                age=duration(age_ns),
                versions=number(versions) if versions >= 0 else "not counted",
                zoom=zoom_of(called - age_ns, returned),
            ),
        )
