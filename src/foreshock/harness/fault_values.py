"""Checks of what a schedule gives as the value of a nemesis' operation; each raises ``ValueError``.

The texts are ends of sentences: whoever catches them says which entry of which file it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from foreshock.harness.options import nearest


class WrongValueError(ValueError):
    """A value that an operation of a nemesis cannot have."""


def check_common_value(names: Collection[str] | None, value: Any, nodes: Sequence[str]) -> None:
    """What all nemeses have in common: a name of ``names`` (where they are known), or a mapping with some keys."""
    if isinstance(value, Mapping):
        for key in ("kind", "spec"):
            if names and key in value:
                check_name(value[key], names, what=f"its {key}")
        if "nodes" in value:
            check_nodes(value["nodes"], nodes, what="its nodes")
    elif names:
        if value is None:
            raise WrongValueError(f"it needs a value: one of {', '.join(names)}, or a table")
        check_name(value, names, what="its value")
    elif value is not None and not isinstance(value, str):
        raise WrongValueError(f"its value {value!r:.200} is neither a name nor a table")


def check_name(value: Any, names: Collection[str], *, what: str) -> None:
    """One of the names."""
    if not isinstance(value, str):
        raise WrongValueError(f"{what} {value!r:.200} is neither a name nor a table")
    if value not in names:
        raise WrongValueError(f"{what} {value!r:.200} is not known{nearest(value[:200], names)}")


def check_nodes(value: Any, nodes: Sequence[str], *, what: str) -> None:
    """A list of nodes of the test."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise WrongValueError(f"{what} must be a list of nodes, not {value!r:.200}")
    for node in value:
        if not isinstance(node, str) or node not in nodes:
            raise WrongValueError(f"there is no node {node!r}{nearest(str(node), nodes)}")


def check_by_node(value: Any, nodes: Sequence[str], *, what: str) -> None:
    """A mapping whose keys are nodes of the test."""
    if not isinstance(value, Mapping):
        raise WrongValueError(f"{what} must be a table by node, not {value!r:.200}")
    check_nodes(list(value), nodes, what=what)
