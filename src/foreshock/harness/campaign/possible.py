"""Whether each combination of a campaign can be tested at all, said before anything is deployed, with the mend."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.campaign.expansion import Combination, matches
from foreshock.harness.campaign.settings import Value, text_of
from foreshock.harness.campaign.specification import Specification
from foreshock.harness.errors import ForeshockError, UsageError
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.parts import Parts
from foreshock.harness.plan import Resolved, resolve
from foreshock.harness.printable import printable
from foreshock.harness.runtime import Runtime
from foreshock.harness.safety import guard
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.store import FAULTS
from foreshock.harness.toml_lines import Place

SHOWN_MAX: Final = 5
"""Of many that are impossible this many are told."""


def check_all(specification: Specification, combinations: Sequence[Combination]) -> None:
    """Plan every combination. What cannot be tested is one :class:`UsageError`, with what would leave it out."""
    failures: list[tuple[Combination, str]] = []
    runtimes = SimRuntime(0), AsyncioRuntime(0)
    with tempfile.TemporaryDirectory(prefix="foreshock-campaign-") as scratch:
        for combination in combinations:
            try:
                resolved = resolve(combination.request(0))
                _begin(resolved, runtimes[not resolved.backend.simulated], Path(scratch))
            except ForeshockError as error:
                failures.append((combination, str(error)))
    if failures:
        raise UsageError(_told(specification, combinations, failures))


def _begin(resolved: Resolved, runtime: Runtime, scratch: Path) -> None:
    """Make the parts of a test, as it does before it deploys anything: a program that is missing is said so."""
    path = scratch / FAULTS
    ledger = FaultLedger(path, runtime.now, durable=False, guard=guard(resolved.plan.allow))
    try:
        Parts(resolved, scratch, runtime, ledger)
    finally:
        ledger.close()
        path.unlink(missing_ok=True)


def _told(
    specification: Specification,
    combinations: Sequence[Combination],
    failures: Sequence[tuple[Combination, str]],
) -> str:
    lines = []
    for combination, why in failures[:SHOWN_MAX]:
        cell = " ".join(
            f"{axis}={printable(text_of(value)):.100}" for axis, value in combination.axes.items()
        )
        line = _line(specification, combination, why)
        lines.append(f"{specification.source.path}, line {line}: {cell}: {why}")
    if len(failures) > SHOWN_MAX:
        lines.append(f"... and {len(failures) - SHOWN_MAX} more of the {len(combinations)} combinations")
    of_matrix = [one for one, _ in failures if one.line == specification.matrix_line]
    fine = [one for one in combinations if all(one is not failed for failed, _ in failures)]
    if of_matrix and fine:
        lines.append("to leave out what cannot be tested, add:")
        lines += [_table(where) for where in excludes_for(of_matrix, fine)]
    return "\n".join(lines)


def _line(specification: Specification, combination: Combination, why: str) -> int:
    """The line of the value, or of the option, that a sentence speaks of; of several, that of the combination."""
    table: Place = ("matrix",)
    for number, included in enumerate(specification.included):
        if included.line == combination.line and included.axes.keys() == combination.axes.keys():
            table = ("include", number)
    lines = specification.source.lines
    found = []
    for name, value in (*combination.axes.items(), *specification.defaults.items()):
        place = (*(table if name in combination.axes else ("defaults",)), *name.split("."))
        said = {repr(text_of(value)), repr(text_of(value).rpartition(":")[0]), repr(place[-1])}
        if place in lines and any(words in why for words in said):
            values = specification.matrix.get(name, ()) if table == ("matrix",) else ()
            number = values.index(value) if value in values else 0
            found.append(lines.get((*place, number), lines[place]))
    return found[0] if len(found) == 1 else combination.line


def excludes_for(failed: Sequence[Combination], fine: Sequence[Combination]) -> list[Mapping[str, Value]]:
    """Few and short exclusions that leave out all of the first and none of the second."""
    left = list(failed)
    found: list[Mapping[str, Value]] = []
    while left:
        where = _shortest(left[0].axes, fine)
        found.append(where)
        wanted = {axis: (value,) for axis, value in where.items()}
        left = [one for one in left[1:] if not matches(one.axes, wanted)]
    return found


def _shortest(axes: Mapping[str, Value], fine: Sequence[Combination]) -> Mapping[str, Value]:
    """The fewest of the values by which no fine combination is left out."""
    for size in range(1, len(axes)):
        for names in itertools.combinations(axes, size):
            where = {name: axes[name] for name in names}
            wanted = {name: (value,) for name, value in where.items()}
            if not any(matches(one.axes, wanted) for one in fine):
                return where
    return axes


def _table(where: Mapping[str, Value]) -> str:
    """An ``[[exclude]]`` as it would be written."""
    rows = [f"{name} = {_toml(value)}" for name, value in where.items()]
    return "\n".join(["[[exclude]]", *rows])


def _toml(value: Value) -> str:
    if isinstance(value, str) or value is None:
        return '"' + text_of(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return text_of(value)
