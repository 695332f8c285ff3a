"""Which backend carries which fault, and by what: for ``doctor``, ``list`` and the table in the docs.

A kind of fault is named as the backends name it (``Backend.mechanisms``): ``partition``, ``packet/delay``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from foreshock.harness.capabilities import (
    Clock,
    Disk,
    Kill,
    Membership,
    Partition,
    Pause,
    PowerCut,
    Primary,
    Shape,
    Stall,
    Starve,
    Upgrade,
    in_words,
)
from foreshock.harness.errors import ForeshockError
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.registry import Kind, load, names

FAMILIES: Final[Mapping[type[Any], str]] = {
    Partition: "partition",
    Kill: "kill",
    Pause: "pause",
    PowerCut: "power",
    Clock: "clock",
    Shape: "packet",
    Disk: "disk",
    Starve: "starve",
    Upgrade: "upgrade",
}
"""The first word of the kinds of fault that a capability stands for."""
ELSEWHERE: Final[Mapping[type[Any], str]] = {
    Stall: "the harness itself",
    Membership: "the target's own interface, where it has one",
    Primary: "the target, where it says who leads",
}
"""Capabilities that no backend carries."""


@runtime_checkable
class KnowsWhatItLacks(Protocol):
    """A backend that can say why this machine does not carry what another would."""

    def lacks(self) -> Mapping[str, str]:
        """The kinds of fault, or their first words, that it cannot carry here, each with the mend."""


class Carried(NamedTuple):
    """What a backend can carry on this machine."""

    mechanisms: Mapping[str, str]
    """By kind of fault."""
    missing: Mapping[str, str]
    """Kinds that another backend carries here and this one does not: why, and the mend."""


def order(kind: str) -> tuple[int, str]:
    """Sorts kinds as people look for them."""
    families = list(FAMILIES.values())
    family = kind.partition("/")[0]
    return (families.index(family) if family in families else len(families), kind)


def carried() -> dict[str, Carried]:
    """What each backend can carry on this machine, whether or not it is available; broken ones are left out."""
    backends: dict[str, Any] = {}
    found: dict[str, Mapping[str, str]] = {}
    for name in names(Kind.BACKENDS):
        try:
            backends[name] = load(Kind.BACKENDS, name)()
            found[name] = dict(backends[name].mechanisms())
        except ForeshockError:
            backends.pop(name, None)  # it is listed with its reason as a backend
    every = {kind for mechanisms in found.values() for kind in mechanisms}
    return {
        name: Carried(
            dict(sorted(found[name].items(), key=lambda each: order(each[0]))),
            _missing(backend, found, name, every),
        )
        for name, backend in backends.items()
    }


def _missing(
    backend: Any, found: Mapping[str, Mapping[str, str]], name: str, every: set[str]
) -> dict[str, str]:
    lacks = backend.lacks() if isinstance(backend, KnowsWhatItLacks) else {}
    missing = {}
    for kind in sorted(every - set(found[name]), key=order):
        family = kind.partition("/")[0]
        others = [other for other in found if kind in found[other]]
        reason = lacks.get(kind) or lacks.get(family)
        if reason is None and _is_covered(kind, found[name]):
            continue
        missing[kind] = reason or f"not by this backend: use --backend {' or '.join(others)}"
    return missing


def _is_covered(kind: str, has: Mapping[str, str]) -> bool:
    """Whether a backend carries the kind under another name: all kinds at once, or a pause by other means."""
    family, _, rest = kind.partition("/")
    of_family = any(each.partition("/")[0] == family for each in has)
    return family in has or (of_family and (not rest or family == "pause"))


def carriers(cls: type[Nemesis[Any]], everything: Mapping[str, Carried]) -> dict[str, str]:
    """Which backends can carry a nemesis, each with the mechanisms in short; a target may lack what it needs too."""
    carrying = {}
    for name, has in everything.items():
        words = []
        for capability in sorted(cls.requires, key=in_words):
            if capability in ELSEWHERE:
                words.append(ELSEWHERE[capability])
                continue
            family = FAMILIES.get(capability, "")
            means = [m for kind, m in has.mechanisms.items() if kind.partition("/")[0] == family]
            if not means:
                break
            words += means
        else:
            carrying[name] = "; ".join(dict.fromkeys(words)) or "whatever its faults need"
    return carrying


def grouped(by_kind: Mapping[str, str]) -> dict[str, list[str]]:
    """Kinds by what is said of them, in order: what shares a sentence is said once."""
    groups: dict[str, list[str]] = {}
    for kind in sorted(by_kind, key=order):
        groups.setdefault(by_kind[kind], []).append(kind)
    return groups


def shortened(kinds: list[str]) -> str:
    """``clock/jump, clock/drift`` as ``clock (jump, drift)``."""
    families: dict[str, list[str]] = {}
    for kind in kinds:
        family, _, rest = kind.partition("/")
        families.setdefault(family, []).extend([rest] if rest else [])
    return ", ".join(f"{family} ({', '.join(rest)})" if rest else family for family, rest in families.items())
