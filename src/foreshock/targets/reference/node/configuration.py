"""What a node is started with: its name, its cluster, what it runs, its knobs, and the planted bug, if any."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.program import NodeProgram
from foreshock.targets.reference.node.programs import load_program


class NodeConfiguration(NamedTuple):
    """A node of a cluster. ``members`` are the cluster's first members, which count only when the log is empty.

    ``program_knobs`` are the knobs of the program that the node runs, ``knobs`` those of the node that carries it.
    """

    name: str
    members: tuple[str, ...]
    program: str
    program_knobs: Any
    cluster: str = "foreshock"
    knobs: NodeKnobs = NodeKnobs()
    bug: str | None = None


def build_program(
    configuration: NodeConfiguration,
    files: Files,
    random_bits: Callable[[int], int],
    now_ns: int,
    *,
    bug_class: type[Any] | None = None,
) -> NodeProgram:
    """What the node runs, on what its files hold.

    ``bug_class`` spares the look-up of ``configuration.bug`` by name. Raises ``OSError`` when the files cannot be
    read, and ``NodeFailure`` with a sentence when what they hold cannot be trusted.
    """
    if bug_class is None and configuration.bug is not None:
        bug_class = load_bug(configuration.bug)
    kind = load_program(configuration.program)
    return kind.build(configuration, files, random_bits, now_ns, bug_class)


def load_bug(name: str) -> type[Any]:
    """The class of a planted bug: ``raft/vote-not-persisted`` is ``VoteNotPersisted`` in ``bugs/raft.py``.

    Raises ``ValueError`` with a sentence.
    """
    family, _, words = name.partition("/")
    title = "".join(word.capitalize() for word in words.split("-"))
    module_name = f"foreshock.targets.reference.bugs.{family}"
    try:
        module = import_module(module_name) if family.isidentifier() else None
    except ModuleNotFoundError as problem:
        if problem.name != module_name:
            raise
        module = None
    found = getattr(module, title, None)
    if isinstance(found, type) and found.__module__ == module_name:
        return found
    raise ValueError(f"there is no planted bug {name!r}; a bug's name looks like raft/vote-not-persisted")


def bug_name(bug_class: type[Any]) -> str:
    """The name under which :func:`load_bug` finds the class."""
    words = "".join(f"-{c.lower()}" if c.isupper() else c for c in bug_class.__name__).lstrip("-")
    return f"{bug_class.__module__.rpartition('.')[2]}/{words}"


def parse_knobs(settings: Mapping[str, str], program_knobs: Any) -> tuple[Any, NodeKnobs]:
    """The knobs of a program's class ``program_knobs``, and the node's, with those set that ``settings`` names.

    Raises ``ValueError`` with a sentence.
    """
    own: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    for name, text in settings.items():
        if name in program_knobs._fields:
            own[name] = _parse_value(name, text, program_knobs._field_defaults[name])
        elif name in NodeKnobs._fields:
            nodes[name] = _parse_value(name, text, NodeKnobs._field_defaults[name])
        else:
            known = sorted((*program_knobs._fields, *NodeKnobs._fields))
            near = difflib.get_close_matches(name, known, n=1) or [", ".join(known)]
            raise ValueError(f"there is no knob {name!r}; did you mean {near[0]}?")
    return program_knobs(**own).checked(), NodeKnobs(**nodes).checked()


def _parse_value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        raise ValueError(f"the knob {name} is {text!r}, but must be true or false")
    if isinstance(default, str):
        return text
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise ValueError(f"the knob {name} is {text!r}, but must be a whole number")
