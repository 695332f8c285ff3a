"""A test that may be a smaller one which still fails, and how a test is made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from foreshock.harness.nemesis import Nemesis
from foreshock.harness.registry import short_name
from foreshock.harness.request import Request
from foreshock.harness.schedule_file import ScheduledFault
from foreshock.harness.shrinking.stored_test import schedule_text
from foreshock.harness.summary import TestSummary

SECOND_NS: Final = 1_000_000_000
TENTH_NS: Final = 100_000_000


class Failure(NamedTuple):
    """In which way a test fails: which checker said so, and which kind of operation no order explains."""

    checker: str
    impossible: str

    @classmethod
    def of(cls, summary: TestSummary) -> Failure:
        """The way of an invalid test."""
        return cls(summary.checker, summary.impossible)

    def __str__(self) -> str:
        return self.checker + (f" ({self.impossible})" if self.impossible else "")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A test without its seed. ``faults`` are a schedule in place of what ``request.nemesis`` would draw, if given.

    ``owned`` are the names of the options that each nemesis has.
    """

    request: Request
    faults: tuple[ScheduledFault, ...] | None = None
    owned: Mapping[str, tuple[str, ...]] = {}

    def key(self) -> str:
        """Equal for equal tests."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:24]

    def request_in(self, folder: Path, seed: int) -> Request:
        """The request of one test; its schedule, if it has one, is written into the folder."""
        if not self.faults:
            return msgspec.structs.replace(self.request, seed=seed)
        text = schedule_text(self.faults, "A schedule that is tried.")
        path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.toml"
        if not path.exists():
            path.write_text(text, encoding="utf-8")
        return msgspec.structs.replace(self.request, seed=seed, schedule=str(path))

    def replace(self, **settings: Any) -> Candidate:
        """The same with other settings of its request."""
        return msgspec.structs.replace(self, request=msgspec.structs.replace(self.request, **settings))

    def within(self, time_limit: float) -> Candidate:
        """The same in less time; faults that would come after it are left out."""
        limit_ns = round(time_limit * SECOND_NS)
        faults = None if self.faults is None else tuple(f for f in self.faults if f.at_ns < limit_ns)
        return self.replace(time_limit=time_limit).with_faults(faults)

    def with_faults(self, faults: Sequence[ScheduledFault] | None) -> Candidate:
        """The same with these faults; without any there is no nemesis, nor an option for one."""
        if faults is None:
            return self
        found = msgspec.structs.replace(self, faults=tuple(sorted(faults, key=lambda fault: fault.at_ns)))
        return found if faults else found.with_nemeses(())

    def with_nemeses(self, names: Sequence[str]) -> Candidate:
        """The same with these nemeses alone, and without the options of the others."""
        gone = {name for name in self._nemeses() if name not in names}
        theirs = {
            f"{before}{option}"
            for name in gone
            for option in self.owned.get(name, ())
            for before in ("", f"{name}.", f"{short_name(name)}.")
        }
        options = {key: value for key, value in self.request.options.items() if key not in theirs}
        return self.replace(nemesis=",".join(names) or "none", options=options)

    def _nemeses(self) -> list[str]:
        return [part.partition("=")[0].strip() for part in self.request.nemesis.split(",")]

    def with_nodes(self, names: Sequence[str]) -> Candidate:
        """The same on these nodes alone, which get the names of so few: ``n1``, ``n2``, ..."""
        new = {name: f"n{number}" for number, name in enumerate(names, 1)}
        faults = self.faults and tuple(
            msgspec.structs.replace(fault, value=_renamed(fault.value, set(self.nodes()), new))
            for fault in self.faults
        )
        return msgspec.structs.replace(self.replace(nodes=str(len(names))), faults=faults)

    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes, where they are known by their count."""
        count = self.request.nodes or ""
        return tuple(f"n{number}" for number in range(1, int(count) + 1)) if count.isdigit() else ()


def paired(
    faults: Sequence[ScheduledFault], nemeses: Mapping[str, type[Nemesis[Any]]]
) -> tuple[ScheduledFault, ...]:
    """Each fault with how long it lasted, in place of an entry that begins it and another that ends it.

    What only ends a fault is left out; what nothing ends lasts until the main phase does.
    """
    shades = [shade for cls in nemeses.values() for shade in cls.shades]
    stops = {f: shade.stops for shade in shades for f in shade.starts}
    only_stops = {f for shade in shades for f in shade.stops} - set(stops)
    found = []
    for number, fault in enumerate(faults):
        if fault.do in only_stops:
            continue
        ends = (later for later in faults[number + 1 :] if later.do in stops.get(fault.do, ()))
        end = next(ends, None)
        lasts_ns = 0 if end is None else max(end.at_ns - fault.at_ns, SECOND_NS // 1000)
        stop = None if end is None else stops[fault.do][0]
        found.append(msgspec.structs.replace(fault, stop=stop, lasts_ns=lasts_ns))
    return tuple(found)


def moved(faults: Sequence[ScheduledFault], by_ns: int, *, since: int = 0) -> tuple[ScheduledFault, ...]:
    """The faults, those from number ``since`` on earlier by so many ns, though never before the main phase."""
    return tuple(
        fault if number < since else msgspec.structs.replace(fault, at_ns=max(0, fault.at_ns - by_ns))
        for number, fault in enumerate(faults)
    )


def smaller(now: int, least: int) -> list[int]:
    """Numbers to try in place of one, the boldest first."""
    tries = (least, now // 4, now // 2, now * 3 // 4, now - 1)
    return list(dict.fromkeys(max(least, number) for number in tries if max(least, number) < now))


def without_chunks(count: int, chunk: int) -> list[tuple[int, int]]:
    """What to leave out of ``count`` things, so many at a time: from where to where, the earliest first."""
    return [(start, min(start + chunk, count)) for start in range(0, count, chunk)]


def _renamed(value: Any, known: set[str], new: Mapping[str, str]) -> Any:
    """A fault's value with the new names of nodes; nodes that are gone are left out of it."""
    if isinstance(value, Mapping):
        return {
            new.get(key, key): _renamed(inner, known, new)
            for key, inner in value.items()
            if key not in known or key in new
        }
    if isinstance(value, list | tuple):
        return [_renamed(each, known, new) for each in value if not _is_gone(each, known, new)]
    return new.get(value, value) if isinstance(value, str) else value


def _is_gone(value: Any, known: set[str], new: Mapping[str, str]) -> bool:
    return isinstance(value, str) and value in known and value not in new
