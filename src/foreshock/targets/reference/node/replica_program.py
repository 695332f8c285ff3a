"""Builds a node that replicates the services by one of the protocols: the same machine, another core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.consensus import Record, Replica
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.machine import NodeMachine, Services
from foreshock.targets.reference.node.program import ProgramKind, variant
from foreshock.targets.reference.node.services.cache import CacheOrigin
from foreshock.targets.reference.node.services.lock import Locks
from foreshock.targets.reference.node.services.register import Registers
from foreshock.targets.reference.node.sessions import Sessions
from foreshock.targets.reference.node.storage import CorruptStorage, Storage
from foreshock.targets.reference.node.wire import VERSION


class RecoverableReplica(Replica, Protocol):
    """What each protocol's replica has beside :class:`Replica`: a way back from its durable records."""

    accepts_snapshot: Callable[[Any], bool]
    """Whether the state machine understands a snapshot's data; set by the driver before the first step."""

    @classmethod
    def recover(
        cls,
        name: str,
        members: Sequence[str],
        records: Iterable[Record],
        knobs: Any,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> RecoverableReplica:
        """A replica from its durable records, in their order; none at all for one that never ran.

        ``members`` is the first configuration, the same on every node that starts the cluster; a node that is to
        join later starts with none. Raises ``ValueError`` when a record is none of the protocol's.
        """


def replica_kind(
    replica_class: type[Any], knobs: Any, encode: Callable[[Any], Any], decode: Callable[[Any], Any]
) -> ProgramKind:
    """The kind of program that a protocol makes; its knobs have ``snapshot_after_entries``."""
    return ProgramKind(knobs=knobs, build=partial(_build, replica_class), encode=encode, decode=decode)


def _build(
    replica_class: type[RecoverableReplica],
    configuration: NodeConfiguration,
    files: Files,
    random_bits: Callable[[int], int],
    now_ns: int,
    bug: type[Any] | None,
) -> NodeMachine:
    storage = Storage(
        files, cluster=configuration.cluster, node=configuration.name, program=configuration.program
    )
    knobs = configuration.program_knobs
    try:
        records = storage.load()
        replica = variant(bug, replica_class).recover(
            configuration.name, configuration.members, records, knobs, random_bits, now_ns
        )
    except CorruptStorage as problem:
        raise NodeFailure(str(problem)) from problem
    except ValueError as problem:
        raise NodeFailure(f"the file {storage.name} of this node cannot be used: {problem}") from problem
    services = Services(
        variant(bug, Sessions), variant(bug, Registers), variant(bug, Locks), variant(bug, CacheOrigin)
    )
    machine = NodeMachine(
        replica,
        storage,
        configuration.knobs,
        snapshot_after_entries=knobs.snapshot_after_entries,
        services=services,
        facts={
            "program": configuration.program,
            "cluster": configuration.cluster,
            "version": VERSION,
            "bug": configuration.bug,
        },
    )
    replica.accepts_snapshot = machine.understands
    return machine
