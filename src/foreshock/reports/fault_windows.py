"""The faults of a run as stretches of time that a plot can shade."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from foreshock.harness.ledger import Fault
from foreshock.harness.nemesis import Shade
from foreshock.reports.scales import moment

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}\Z|#[0-9A-Fa-f]{3}\Z")
_UNITS = ("ms", "s", "ns", "us", "ppm", "bytes")
_SPARE_COLORS = ("#8E7CC3", "#C9A66B", "#6FA8A0", "#B97A95", "#7F9F5F", "#7A93B8")


class FaultWindow(NamedTuple):
    """One fault in force from ``start_ns`` to ``end_ns`` (the end of the run when it was never healed)."""

    id: int
    kind: str
    nodes: tuple[str, ...]
    start_ns: int
    end_ns: int
    color: str
    state: str
    note: str
    effect: str
    planned_ns: int = 0
    verified_ns: int | None = None
    healed_ns: int | None = None

    @property
    def label(self) -> str:
        """The fault in words, with its nodes and its times."""
        where = " on " + ", ".join(self.nodes) if self.nodes else ""
        return f"{self.kind}{where}, {moment(self.start_ns)} to {moment(self.end_ns)} ({self.times})"

    @property
    def times(self) -> str:
        """When the ledger has it planned, verified and healed."""
        verified = "never" if self.verified_ns is None else moment(self.verified_ns)
        healed = "never" if self.healed_ns is None else moment(self.healed_ns)
        return f"planned {moment(self.planned_ns)}, verified {verified}, healed {healed}"

    def holds(self, at_ns: int) -> bool:
        """Whether the fault was in force at a moment."""
        return self.start_ns <= at_ns <= self.end_ns


def fault_windows(faults: Iterable[Fault], shades: Iterable[Shade], end_ns: int) -> tuple[FaultWindow, ...]:
    """The windows of a ledger, in order of their start, in the colours that the nemeses chose."""
    colors = {shade.name: shade.color for shade in shades if _COLOR.match(shade.color)}
    windows = []
    for fault in faults:
        if fault.kind not in colors:
            colors[fault.kind] = _SPARE_COLORS[len(colors) % len(_SPARE_COLORS)]
        start = fault.planned_ns if fault.verified_ns is None else fault.verified_ns
        # A fault that failed before it was verified was in force for no known time.
        stop = (
            fault.healed_ns
            if fault.healed_ns is not None
            else (fault.failed_ns if fault.failed_ns is not None and fault.verified_ns is None else end_ns)
        )
        windows.append(
            FaultWindow(
                id=fault.id,
                kind=fault.kind,
                nodes=fault.nodes,
                start_ns=start,
                end_ns=max(stop, start),
                color=colors[fault.kind],
                state=_state(fault),
                note=fault.failure or "",
                effect=_effect(fault.value),
                planned_ns=fault.planned_ns,
                verified_ns=fault.verified_ns,
                healed_ns=fault.healed_ns,
            )
        )
    return tuple(sorted(windows, key=lambda window: (window.start_ns, window.id)))


def _state(fault: Fault) -> str:
    if fault.failed_ns is not None:
        return "failed"
    if fault.healed_ns is not None:
        return "healed" if fault.verified_ns is not None else "healed, never verified"
    return "never healed" if fault.verified_ns is not None else "planned only"


def _effect(value: Any) -> str:
    """What the fault did, in one short line: a grudge as who does not hear whom."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if isinstance(value.get("grudge"), Mapping):
            return ": ".join(part for part in (str(value.get("kind", "")), _grudge(value["grudge"])) if part)
        if value and all(isinstance(unheard, list | tuple) for unheard in value.values()):
            return _grudge(value)
        if isinstance(value.get("spec"), str) and isinstance(value.get("means"), str) and len(value) == 2:
            return f"{value['spec']}, {value['means']}"
        if words := _words(value):
            return words
    return msgspec.json.encode(value, enc_hook=str).decode()


def _words(value: Mapping[str, Any]) -> str:
    """Settings in words, ``jump: n1 81 ms, n2 -60 ms``: figures with the units of their names; empty for what nests."""
    kind, told = str(value.get("kind", "")), []
    for name, setting in value.items():
        what, _, unit = str(name).rpartition("_")
        unit, what = (f" {unit}", what) if what and unit in _UNITS else ("", str(name))
        if isinstance(setting, Mapping):
            each = [f"{node} {figure}{unit}" for node, figure in setting.items() if not _nests(figure)]
        elif isinstance(setting, list | tuple):
            each = [f"{entry}{unit}" for entry in setting if not _nests(entry)]
        else:
            each = [f"{setting}{unit}"]
        if isinstance(setting, Mapping | list | tuple) and len(each) < len(setting):
            return ""
        if name != "kind":
            told.append(" ".join([*([what.replace("_", " ")] if what != kind else []), ", ".join(each)]))
    return ": ".join(part for part in (kind, ", ".join(told)) if part)


def _nests(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _grudge(grudge: Mapping[str, Any]) -> str:
    """Who does not hear whom; where that splits the nodes into groups, the groups."""
    deaf = {
        node: frozenset(map(str, unheard))
        for node, unheard in grudge.items()
        if isinstance(unheard, list | tuple) and unheard
    }
    groups = _groups(deaf)
    if groups:
        return " | ".join(", ".join(group) for group in groups)
    return "; ".join(f"{node} does not hear {', '.join(sorted(unheard))}" for node, unheard in deaf.items())


def _groups(deaf: Mapping[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """The groups of a grudge within which all hear each other and nobody else; empty where it has none."""
    nodes = frozenset(deaf).union(*deaf.values()) if deaf else frozenset()
    hears = {node: nodes - deaf.get(node, frozenset()) for node in nodes}
    if all(hears[other] == heard for heard in hears.values() for other in heard):
        return sorted({tuple(sorted(heard)) for heard in hears.values()})
    return []
