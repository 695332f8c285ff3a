"""Which tests the zoo runs: hunts for what must be found, and surveys of what must survive."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

import foreshock
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.options import nearest
from foreshock.harness.randomness import RandomStream
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.request import Request
from foreshock.harness.target import Target

SOURCES = Path(foreshock.__file__).parent


class Hunt(msgspec.Struct, frozen=True):
    """One exhibit: its tests have the seeds 0, 1, 2, ... and end with the first that is invalid."""

    exhibit: Exhibit

    @property
    def name(self) -> str:
        """The exhibit's name."""
        return self.exhibit.name

    @property
    def kind(self) -> str:
        """``bug`` where one is planted, ``target`` for a target that is wrong by itself, else ``finding``."""
        if self.exhibit.request.bug is not None:
            return "bug"
        return "target" if self.exhibit.name == self.exhibit.request.target else "finding"

    def test(self, number: int) -> Request:
        """The hunt's test of that number."""
        return msgspec.structs.replace(self.exhibit.request, backend="sim", seed=number)


class Survey(msgspec.Struct, frozen=True):
    """What one target promises, as tests that must all be valid."""

    target: str
    tests: tuple[Request, ...]
    skipped: str | None = None
    """Why there are no tests, where there are none."""

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target


class Zoo(msgspec.Struct, frozen=True):
    """All hunts and surveys of one run of the zoo, and the bugs that nobody hunts."""

    hunts: tuple[Hunt, ...]
    surveys: tuple[Survey, ...]
    unhunted: tuple[str, ...]
    broken: tuple[str, ...] = ()
    """What is wrong with targets that could not be looked at."""

    def digest(self) -> str:
        """Equal for equal tests of equal sources: only then may results of an earlier run be used again."""
        plan = msgspec.json.encode(self, order="deterministic")
        return hashlib.sha256(plan + sources_digest(SOURCES)).hexdigest()[:16]


def sources_digest(root: Path) -> bytes:
    """A digest of every Python file below a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.digest()


def plan_zoo(wanted: Sequence[str], *, tests: int, time_limit: float, first_seed: int) -> Zoo:
    """The zoo of all registered targets, or of what ``wanted`` names (exhibits and targets, ``*`` stands for any).

    ``tests`` is how many each correct target gets, of ``time_limit`` simulated seconds each, with seeds that count
    up from ``first_seed``. Raises :class:`UsageError` for a name that is nothing here.
    """
    targets, broken = _targets()
    simulated = [target for target in targets.values() if target.can_simulate()]
    exhibits = {exhibit.name: exhibit for target in simulated for exhibit in target.exhibits}
    bugs = names(Kind.BUGS)
    surveyed = [name for name, target in targets.items() if target.promises]
    known = {*exhibits, *bugs, *surveyed}
    for pattern in wanted:
        if not fnmatch.filter(known, pattern):
            raise UsageError(f"nothing in the zoo is called {pattern!r}{nearest(pattern, known)}")

    def chosen(name: str) -> bool:
        return not wanted or any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)

    return Zoo(
        hunts=tuple(Hunt(exhibit) for name, exhibit in sorted(exhibits.items()) if chosen(name)),
        surveys=tuple(
            _survey(name, targets[name], tests, time_limit, first_seed)
            for name in surveyed
            if chosen(name) and tests
        ),
        unhunted=tuple(name for name in bugs if name not in exhibits and chosen(name)),
        broken=tuple(broken),
    )


def _targets() -> tuple[dict[str, type[Target[Any]]], list[str]]:
    """Every registered target that imports, and a sentence about each that does not."""
    found, broken = {}, []
    for name in names(Kind.TARGETS):
        try:
            found[name] = load(Kind.TARGETS, name)
        except PlugInError as error:
            broken.append(str(error))
    return found, broken


def _survey(name: str, target: type[Target[Any]], tests: int, time_limit: float, first_seed: int) -> Survey:
    if not target.can_simulate():
        return Survey(name, (), "it cannot be simulated")
    rng = RandomStream(first_seed, f"zoo/{name}")
    promised = itertools.cycle([(promise, _subsets(promise, rng)) for promise in target.promises])
    return Survey(
        name,
        tuple(
            promise.request(name, next(subsets), first_seed + number, time_limit=time_limit)
            for number, (promise, subsets) in zip(range(tests), promised, strict=False)
        ),
    )


def _subsets(promise: Promise, rng: RandomStream) -> Iterator[tuple[str, ...]]:
    """Nemeses of one promise, without end: all together, each alone, none, then any of them at random."""
    nemeses = promise.nemeses
    yield nemeses
    if len(nemeses) > 1:
        yield from ((name,) for name in nemeses)
    if nemeses:
        yield ()
    while True:
        yield tuple(name for name in nemeses if rng.chance(1, 2))
