"""What a campaign's file says: read whole, and whatever is wrong in it said with its line.

::

    name = "nightly"
    seeds = 20                                  # or [3, 5, 8], or { from = 100, count = 20 }
    [defaults]                                  # of every test: the settings of ``foreshock test``
    time-limit = 20
    [matrix]                                    # every combination of these
    target = ["raft", "paxos"]
    nemesis = ["kill", "partition,kill"]
    [[exclude]]                                 # leaves out each combination that has all of these
    target = "paxos"
    nemesis = "kill"
    [[adjust]]                                  # gives settings to each combination that has all of ``where``
    where = { target = "raft" }
    rate = 500
    [[include]]                                 # more combinations, which are no part of the matrix
    target = ["raft", "zab"]
    backend = "docker"
    seeds = 2
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from foreshock.harness.campaign.settings import Settings, Value
from foreshock.harness.campaign.source import Source
from foreshock.harness.errors import UsageError

TESTS_MAX: Final = 100_000
SEEDS_MAX: Final = 1 << 31
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DAYS_MAX: Final = 30
RERUN_MAX: Final = 20
JOBS_MAX: Final = 256

Reported = Literal["all", "failures", "none"]
Kept = Literal["all", "failures"]


class Seeds(msgspec.Struct, frozen=True):
    """Which seeds each combination is tested with: those listed, or ``count`` from ``first`` up (``None``: no end)."""

    listed: tuple[int, ...] | None = None
    first: int = 0
    count: int | None = 1

    @property
    def rounds(self) -> int | None:
        """How many there are; ``None``: as many as there is time for."""
        return self.count if self.listed is None else len(self.listed)

    def of_round(self, number: int) -> int:
        """The seed of a round, the first of which has the number 0."""
        return self.first + number if self.listed is None else self.listed[number]


class Excluded(msgspec.Struct, frozen=True):
    """Combinations that are left out: those with one of the values of each axis."""

    line: int
    where: Mapping[str, tuple[Value, ...]]


class Adjusted(msgspec.Struct, frozen=True):
    """Settings for the combinations that have one of the values of each axis of ``where``."""

    line: int
    where: Mapping[str, tuple[Value, ...]]
    settings: Mapping[str, Value]
    seeds: Seeds | None = None


class Included(msgspec.Struct, frozen=True):
    """Combinations of their own: a small matrix beside the large one."""

    line: int
    axes: Mapping[str, tuple[Value, ...]]
    seeds: Seeds | None = None


class Specification(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's file as it was understood; settings have the names of the file: ``time-limit``, ``options.mode``."""

    source: Source
    name: str
    seeds: Seeds
    for_s: float | None = None
    jobs: int | None = None
    rerun: int = 2
    fail_fast: bool = False
    report: Reported = "failures"
    keep: Kept = "all"
    give_up_after_s: float | None = None
    """After this many seconds on the clock a test is given up; ``None``: what its own settings allow it."""
    defaults: Mapping[str, Value] = {}
    matrix: Mapping[str, tuple[Value, ...]] = {}
    matrix_line: int = 1
    excluded: tuple[Excluded, ...] = ()
    adjusted: tuple[Adjusted, ...] = ()
    included: tuple[Included, ...] = ()


KEYS: Final = (
    "name",
    "seeds",
    "repeat",
    "for",
    "jobs",
    "rerun",
    "fail-fast",
    "report",
    "keep",
    "give-up-after",
    "defaults",
    "matrix",
    "exclude",
    "adjust",
    "include",
)


def read_specification(path: Path) -> Specification:
    """Read a campaign's file. Raises :class:`UsageError` that names the file, the line and the key."""
    source = Source.read(path)
    content = source.known((), source.content, KEYS)
    if "seeds" in content and "repeat" in content:
        raise source.error(("repeat",), "'repeat' is another word for 'seeds': give one of them")
    for_s = _duration(source, "for", content)
    settings = Settings(source)
    specification = Specification(
        source=source,
        name=_name(source, content, path),
        seeds=_seeds(source, ("seeds" if "seeds" in content else "repeat",), content, for_s=for_s)
        or Seeds(count=1 if for_s is None else None),
        for_s=for_s,
        jobs=source.whole(("jobs",), content.get("jobs"), 1, JOBS_MAX),
        rerun=_or(source.whole(("rerun",), content.get("rerun"), 0, RERUN_MAX), 2),
        fail_fast=source.boolean(("fail-fast",), content.get("fail-fast", False)),
        report=source.choice(("report",), content.get("report", "failures"), ("all", "failures", "none")),
        keep=source.choice(("keep",), content.get("keep", "all"), ("all", "failures")),
        give_up_after_s=_duration(source, "give-up-after", content),
        defaults=settings.single(("defaults",), content.get("defaults", {})),
        matrix=settings.axes(("matrix",), content.get("matrix", {})),
        matrix_line=source.line(("matrix",)),
        excluded=tuple(
            _excluded(settings, place, table) for place, table in _tables(source, content, "exclude")
        ),
        adjusted=tuple(
            _adjusted(settings, place, table, for_s) for place, table in _tables(source, content, "adjust")
        ),
        included=tuple(
            _included(settings, place, table, for_s) for place, table in _tables(source, content, "include")
        ),
    )
    _check_whole(specification, content)
    return specification


def _check_whole(specification: Specification, content: Mapping[str, Any]) -> None:
    source = specification.source
    if not specification.matrix and not specification.included:
        raise source.error(
            (), 'there is nothing to test: give a [matrix], such as target = ["raft"], or an [[include]]'
        )
    axes = specification.matrix
    for number, excluded in enumerate(specification.excluded):
        for axis, values in excluded.where.items():
            _check_of_matrix(specification, ("exclude", number, *axis.split(".")), axis, values)
    for number, adjusted in enumerate(specification.adjusted):
        for axis, values in adjusted.where.items():
            _check_of_matrix(specification, ("adjust", number, "where", *axis.split(".")), axis, values)
        for name in adjusted.settings:
            if name in axes:
                raise source.error(
                    ("adjust", number, *name.split(".")),
                    f"{name!r} is an axis of [matrix], whose values make the combinations: it cannot be adjusted",
                )
    if "matrix" not in content and specification.excluded:
        raise source.error(("exclude",), "there is no [matrix] from which combinations could be left out")


def _check_of_matrix(
    specification: Specification, place: tuple[str | int, ...], axis: str, values: Sequence[Value]
) -> None:
    """What is excluded or adjusted must be there: a typo would otherwise leave out nothing, and not say so."""
    source = specification.source
    known = dict(specification.matrix)
    if place[0] == "adjust":
        for included in specification.included:
            for name, more in included.axes.items():
                known[name] = (*known.get(name, ()), *more)
    if axis not in known:
        raise source.error(place, f"{axis!r} is no axis of [matrix]", name=axis, known=known)
    for value in values:
        if value not in known[axis]:
            raise source.error(
                place,
                f"{value!r} is no value of the axis {axis!r}",
                name=str(value),
                known=[str(one) for one in known[axis]],
            )


def _tables(
    source: Source, content: Mapping[str, Any], key: str
) -> list[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    found = content.get(key, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise source.error((key,), f"{key!r} must be tables: write [[{key}]] above each of them")
    return [((key, number), table) for number, table in enumerate(found)]


def _excluded(settings: Settings, place: tuple[str | int, ...], table: Mapping[str, Any]) -> Excluded:
    if not table:
        raise settings.source.error(place, "an [[exclude]] without any key would leave out everything")
    return Excluded(line=settings.source.line(place), where=settings.axes(place, table))


def _adjusted(
    settings: Settings, place: tuple[str | int, ...], table: Mapping[str, Any], for_s: float | None
) -> Adjusted:
    source = settings.source
    if not isinstance(table.get("where"), dict) or not table["where"]:
        raise source.error(
            place, 'an [[adjust]] must say which combinations it is for, such as where = { target = "raft" }'
        )
    rest = {key: value for key, value in table.items() if key not in ("where", "seeds")}
    seeds = _seeds(source, (*place, "seeds"), table, for_s=for_s)
    if not rest and seeds is None:
        raise source.error(place, "this [[adjust]] gives no setting: it would change nothing")
    return Adjusted(
        line=source.line(place),
        where=settings.axes((*place, "where"), table["where"]),
        settings=settings.single(place, rest, also=("where", "seeds")),
        seeds=seeds,
    )


def _included(
    settings: Settings, place: tuple[str | int, ...], table: Mapping[str, Any], for_s: float | None
) -> Included:
    rest = {key: value for key, value in table.items() if key != "seeds"}
    if not rest:
        raise settings.source.error(
            place, 'an [[include]] must say what is to be tested beside the matrix, such as target = "raft"'
        )
    return Included(
        line=settings.source.line(place),
        axes=settings.axes(place, rest, also=("seeds",)),
        seeds=_seeds(settings.source, (*place, "seeds"), table, for_s=for_s),
    )


def _name(source: Source, content: Mapping[str, Any], path: Path) -> str:
    name = content.get("name", re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64] or "campaign")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise source.error(
            ("name",),
            f"{name!r:.100} is no name for a campaign, whose folder bears it: use letters, digits, dots and hyphens",
        )
    return name


def _duration(source: Source, key: str, content: Mapping[str, Any]) -> float | None:
    """Seconds, from a number of them or a text such as ``30m``."""
    value = content.get(key)
    if value is None:
        return None
    seconds = parse_duration(value)
    if seconds is None:
        raise source.error(
            (key,), f'{key!r} cannot be {value!r:.100}: give a time such as "90s", "30m" or "8h"'
        )
    return seconds


def parse_duration(value: object) -> float | None:
    """Seconds, from a number of them or a text such as ``90s``, ``30m``, ``8h``; ``None`` for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        found = DURATION.fullmatch(str(value).strip())
        if found is None or not isinstance(value, str):
            return None
        seconds = float(found[1]) * UNITS_S[found[2]]
    return seconds if 0 < seconds <= DAYS_MAX * UNITS_S["d"] else None


def _seeds(
    source: Source, place: tuple[str | int, ...], table: Mapping[str, Any], *, for_s: float | None
) -> Seeds | None:
    """The seeds that a table asks for; ``None`` where it says nothing of them."""
    key = str(place[-1])
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool):
        raise _no_seeds(source, place, value)
    if isinstance(value, int):
        return Seeds(count=source.whole(place, value, 1, TESTS_MAX))
    if isinstance(value, list) and value:
        listed = tuple(
            _or(source.whole((*place, number), seed, 0, SEEDS_MAX), 0) for number, seed in enumerate(value)
        )
        for number, seed in enumerate(listed):
            if seed in listed[:number]:
                raise source.error((*place, number), f"the seed {seed} is there twice")
        return Seeds(listed=listed)
    if isinstance(value, dict):
        source.known(place, value, ("from", "count"))
        first = source.whole((*place, "from"), value.get("from", 0), 0, SEEDS_MAX)
        count = source.whole((*place, "count"), value.get("count"), 1, TESTS_MAX)
        return Seeds(first=_or(first, 0), count=count if count is not None or for_s is not None else 1)
    raise _no_seeds(source, place, value)


def _no_seeds(source: Source, place: tuple[str | int, ...], value: object) -> UsageError:
    return source.error(
        place,
        f"{place[-1]!r} cannot be {value!r:.100}: give a count, a list of seeds, or {{ from = 100, count = 20 }}",
    )


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
