"""What a node is started with: its name, its cluster, its knobs, and the planted bug, if any."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.machine import NodeKnobs, NodeMachine
from foreshock.targets.reference.node.raft import Raft, RaftKnobs
from foreshock.targets.reference.node.sessions import Sessions
from foreshock.targets.reference.node.storage import CorruptStorage, Storage
from foreshock.targets.reference.node.wire import VERSION


class NodeConfiguration(NamedTuple):
    """A node of a cluster. ``members`` are the cluster's first members, which count only when the log is empty."""

    name: str
    members: tuple[str, ...]
    cluster: str = "foreshock"
    raft_knobs: RaftKnobs = RaftKnobs()
    knobs: NodeKnobs = NodeKnobs()
    bug: str | None = None


def build_machine(
    configuration: NodeConfiguration,
    files: Files,
    random_bits: Callable[[int], int],
    now_ns: int,
    *,
    bug_class: type[Any] | None = None,
) -> NodeMachine:
    """The node's machine on what its files hold.

    ``bug_class`` spares the look-up of ``configuration.bug`` by name. Raises ``OSError`` when the files cannot be
    read, and :class:`NodeFailure` with a sentence when what they hold cannot be trusted.
    """
    if bug_class is None and configuration.bug is not None:
        bug_class = load_bug(configuration.bug)
    raft_class: type[Raft] = Raft
    sessions_class: type[Sessions] = Sessions
    if bug_class is not None and issubclass(bug_class, Sessions):
        sessions_class = bug_class
    elif bug_class is not None:
        raft_class = bug_class
    storage = Storage(files, cluster=configuration.cluster, node=configuration.name)
    try:
        records = storage.load()
    except CorruptStorage as problem:
        raise NodeFailure(str(problem)) from problem
    replica = raft_class.recover(
        configuration.name, configuration.members, records, configuration.raft_knobs, random_bits, now_ns
    )
    machine = NodeMachine(
        replica,
        storage,
        configuration.knobs,
        snapshot_after_entries=configuration.raft_knobs.snapshot_after_entries,
        sessions_class=sessions_class,
        facts={"cluster": configuration.cluster, "version": VERSION, "bug": configuration.bug},
    )
    replica.accepts_snapshot = machine.understands
    return machine


def load_bug(name: str) -> type[Any]:
    """The class of a planted bug: ``raft/vote-not-persisted`` is ``VoteNotPersisted`` in ``bugs/raft.py``.

    Raises ``ValueError`` with a sentence.
    """
    family, _, words = name.partition("/")
    title = "".join(word.capitalize() for word in words.split("-"))
    try:
        module = (
            import_module(f"foreshock.targets.reference.bugs.{family}") if family.isidentifier() else None
        )
    except ModuleNotFoundError:
        module = None
    found = getattr(module, title, None)
    if isinstance(found, type) and issubclass(found, Raft | Sessions):
        return found
    raise ValueError(f"there is no planted bug {name!r}; a bug's name looks like raft/vote-not-persisted")


def bug_name(bug_class: type[Any]) -> str:
    """The name under which :func:`load_bug` finds the class."""
    words = "".join(f"-{c.lower()}" if c.isupper() else c for c in bug_class.__name__).lstrip("-")
    return f"{bug_class.__module__.rpartition('.')[2]}/{words}"


def parse_knobs(settings: Mapping[str, str]) -> tuple[RaftKnobs, NodeKnobs]:
    """The knobs with those that are set in place of the defaults; raises ``ValueError`` with a sentence."""
    raft_knobs: dict[str, Any] = {}
    node_knobs: dict[str, Any] = {}
    for name, text in settings.items():
        if name in RaftKnobs._fields:
            raft_knobs[name] = _parse_value(name, text, RaftKnobs._field_defaults[name])
        elif name in NodeKnobs._fields:
            node_knobs[name] = _parse_value(name, text, NodeKnobs._field_defaults[name])
        else:
            known = sorted((*RaftKnobs._fields, *NodeKnobs._fields))
            near = difflib.get_close_matches(name, known, n=1) or [", ".join(known)]
            raise ValueError(f"there is no knob {name!r}; did you mean {near[0]}?")
    return RaftKnobs(**raft_knobs).checked(), NodeKnobs(**node_knobs).checked()


def _parse_value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        raise ValueError(f"the knob {name} is {text!r}, but must be true or false")
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise ValueError(f"the knob {name} is {text!r}, but must be a whole number")
