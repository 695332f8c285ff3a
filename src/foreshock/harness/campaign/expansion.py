"""From a campaign's file to its tests: combinations, their settings, their seeds; and the shard of them that is run."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from foreshock.harness.campaign.document import CampaignTest
from foreshock.harness.campaign.settings import NONE, NOTHING, UNSET, Value, request_of, text_of
from foreshock.harness.campaign.specification import TESTS_MAX, Seeds, Specification
from foreshock.harness.errors import UsageError
from foreshock.harness.request import Request

ALWAYS: Final = ("target", "workload", "nemesis", "backend", "bug")
"""The dimensions that every cell names."""
_UNSET: Final = Request()


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the matrix, or beside it: a test but for its seed. ``line`` is where the file asks for it."""

    line: int
    axes: Mapping[str, Value]
    """The values that make the combination what it is."""
    settings: Mapping[str, Value]
    """Every setting, those of the axes included."""
    seeds: Seeds
    cell: Mapping[str, str] = {}

    def request(self, seed: int) -> Request:
        """What is asked of the test with a seed."""
        return msgspec.structs.replace(request_of(self.settings), seed=seed)


class Shard(msgspec.Struct, frozen=True):
    """The ``number``-th of ``count`` parts of a campaign, the first of which has the number 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, key: str) -> bool:
        """Whether a test is part of this shard; that depends on its key alone."""
        return int(key, 16) % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """``2/5`` is the second of five; raises :class:`UsageError`."""
    number, slash, count = text.partition("/")
    if (
        slash
        and number.strip().isdecimal()
        and count.strip().isdecimal()
        and 1 <= int(number) <= int(count) <= 10_000
    ):
        return Shard(int(number), int(count))
    raise UsageError(
        f"--shard {text!r:.100} is no shard: give its number and how many there are, such as 1/4"
    )


def combinations_of(specification: Specification) -> tuple[Combination, ...]:
    """Every combination that is to be tested, in the order of the file. Raises :class:`UsageError`."""
    found = [*_of_matrix(specification), *_included(specification)]
    if not found:
        raise specification.source.error(
            ("exclude",), "every combination is excluded: nothing is left to test"
        )
    planned = count_of(found)
    if planned is not None and planned > TESTS_MAX:
        raise specification.source.error(
            ("seeds",), f"{len(found)} combinations make {planned} tests, and at most {TESTS_MAX} are taken"
        )
    varied = _varied(specification, found)
    placed = [
        msgspec.structs.replace(
            one, cell={name: _text(name, one.settings.get(name, _default(name))) for name in varied}
        )
        for one in found
    ]
    _refuse_twins(specification, placed)
    return tuple(placed)


def axes_of(combinations: Sequence[Combination]) -> dict[str, tuple[str, ...]]:
    """The dimensions with their values, in the order in which they come."""
    axes: dict[str, dict[str, None]] = {}
    for combination in combinations:
        for name, text in combination.cell.items():
            axes.setdefault(name, {})[text] = None
    return {name: tuple(texts) for name, texts in axes.items()}


def planned_tests(combinations: Sequence[Combination], shard: Shard | None = None) -> Iterator[CampaignTest]:
    """The tests, round by round: each combination with its first seed comes before any with its second."""
    left = list(combinations)
    for number in itertools.count():
        left = [one for one in left if one.seeds.rounds is None or number < one.seeds.rounds]
        if not left:
            return
        for combination in left:
            request = combination.request(combination.seeds.of_round(number))
            key = key_of(request)
            if shard is None or shard.holds(key):
                yield CampaignTest(key=key, cell=combination.cell, request=request)


def key_of(request: Request) -> str:
    """The name of a test for good: 64 bits of the digest of all that it is asked by, as 16 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()[:16]


def count_of(combinations: Sequence[Combination]) -> int | None:
    """How many tests there are; ``None``: as many as there is time for."""
    rounds = [one.seeds.rounds for one in combinations]
    return None if None in rounds else sum(count for count in rounds if count is not None)


def _of_matrix(specification: Specification) -> Iterator[Combination]:
    matrix = specification.matrix
    if not matrix:
        return
    _bound(specification, ("matrix",), matrix.values())
    left_out = [0] * len(specification.excluded)
    for values in itertools.product(*matrix.values()):
        axes = dict(zip(matrix, values, strict=True))
        hit = [number for number, one in enumerate(specification.excluded) if matches(axes, one.where)]
        for number in hit:
            left_out[number] += 1
        if not hit:
            yield _adjusted(
                specification,
                Combination(
                    line=specification.matrix_line,
                    axes=axes,
                    settings={**specification.defaults, **axes},
                    seeds=specification.seeds,
                ),
            )
    for number, count in enumerate(left_out):
        if not count:
            raise specification.source.error(
                ("exclude", number),
                "this [[exclude]] leaves out nothing: no combination of [matrix] is like that",
            )


def _included(specification: Specification) -> Iterator[Combination]:
    for number, included in enumerate(specification.included):
        _bound(specification, ("include", number), included.axes.values())
        for values in itertools.product(*included.axes.values()):
            axes = dict(zip(included.axes, values, strict=True))
            yield _adjusted(
                specification,
                Combination(
                    line=included.line,
                    axes=axes,
                    settings={**specification.defaults, **axes},
                    seeds=included.seeds or specification.seeds,
                ),
            )


def _adjusted(specification: Specification, combination: Combination) -> Combination:
    """Later adjustments go before earlier ones; what the combination itself is made of is never changed."""
    for adjusted in specification.adjusted:
        if matches(combination.settings, adjusted.where):
            combination = msgspec.structs.replace(
                combination,
                settings={**combination.settings, **adjusted.settings, **combination.axes},
                seeds=adjusted.seeds or combination.seeds,
            )
    return combination


def matches(values: Mapping[str, Any], where: Mapping[str, tuple[Value, ...]]) -> bool:
    """Whether a combination has, of each axis, one of the values."""
    return all(values.get(axis, _default(axis)) in wanted for axis, wanted in where.items())


def _text(name: str, value: Value) -> str:
    return UNSET if value is None and name not in NOTHING else text_of(value)


def _default(name: str) -> Value:
    return getattr(_UNSET, name.replace("-", "_"), None)


def _varied(specification: Specification, combinations: Sequence[Combination]) -> list[str]:
    """What a cell names: the usual dimensions, those of the matrix, and whatever else differs between tests."""
    names = dict.fromkeys((*ALWAYS, *specification.matrix))
    for name in dict.fromkeys(name for one in combinations for name in one.settings):
        if name not in names:
            first = combinations[0].settings.get(name, _default(name))
            if any(one.settings.get(name, _default(name)) != first for one in combinations):
                names[name] = None
    return list(names)


def _refuse_twins(specification: Specification, combinations: Sequence[Combination]) -> None:
    """The same test twice would be one test: whoever wrote it meant something else."""
    seen: dict[str, Combination] = {}
    for one in combinations:
        rounds = one.seeds.rounds
        for number in range(min(rounds, TESTS_MAX) if rounds is not None else 1):
            key = key_of(one.request(one.seeds.of_round(number)))
            if key in seen:
                where = ", ".join(f"{axis} {text}" for axis, text in one.cell.items() if text != NONE)
                raise UsageError(
                    f"{specification.source.path}, line {one.line}: the test of {where} with seed "
                    f"{one.seeds.of_round(number)} is there already, by line {seen[key].line}: leave one out, or give "
                    "it other seeds or settings (for settings of what is there, use [[adjust]])"
                )
            seen[key] = one


def _bound(specification: Specification, place: tuple[str | int, ...], axes: Any) -> None:
    count = 1
    for values in axes:
        count *= len(values)
    if count > TESTS_MAX:
        raise specification.source.error(
            place, f"{count} combinations are too many: at most {TESTS_MAX} are taken"
        )
