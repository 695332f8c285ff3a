"""A distributed cache as a program that a node runs: the origin on one node, copies on all others."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from foreshock.targets.reference.node.cache.copies import LeasingOrigin, WriteThroughOrigin
from foreshock.targets.reference.node.cache.database import LogDatabase, OriginDatabase
from foreshock.targets.reference.node.cache.disk_store import DiskStore
from foreshock.targets.reference.node.cache.fills import Fills, LeasedFills
from foreshock.targets.reference.node.cache.grants import Grants, Recalls
from foreshock.targets.reference.node.cache.knobs import (
    LEASES,
    LINEARIZABLE,
    LOOK_ASIDE_MODES,
    WRITE_THROUGH,
    CacheKnobs,
)
from foreshock.targets.reference.node.cache.look_aside import LookAsideNode
from foreshock.targets.reference.node.cache.messages import decode, encode
from foreshock.targets.reference.node.cache.origin import Origin
from foreshock.targets.reference.node.cache.read_through import ReadThroughNode
from foreshock.targets.reference.node.cache.sqlite import FilesInDirectory, SqliteDatabase
from foreshock.targets.reference.node.cache.store import CopyStore, MemoryStore
from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.program import NodeProgram, ProgramKind, variant

_ORIGINS = {WRITE_THROUGH: WriteThroughOrigin, LINEARIZABLE: LeasingOrigin}


def _build(
    configuration: NodeConfiguration,
    files: Files,
    random_bits: Callable[[int], int],
    now_ns: int,  # noqa: ARG001
    bug: type[Any] | None,
) -> NodeProgram:
    knobs: CacheKnobs = configuration.program_knobs
    if knobs.origin not in configuration.members:
        raise NodeFailure(
            f"the origin {knobs.origin!r} is no member of the cluster: name one with --set origin=NODE"
        )
    if configuration.name == knobs.origin:
        return _origin(configuration, files, knobs, bug)
    store = _store(files, knobs, bug)
    own = (configuration.name, store, knobs, configuration.knobs, random_bits)
    if knobs.mode in LOOK_ASIDE_MODES:
        fills = variant(bug, LeasedFills) if knobs.mode == LEASES else Fills
        return LookAsideNode(*own, fills=fills)
    node: NodeProgram = variant(bug, ReadThroughNode)(*own)
    return node


def _origin(
    configuration: NodeConfiguration, files: Files, knobs: CacheKnobs, bug: type[Any] | None
) -> NodeProgram:
    origin: NodeProgram = _ORIGINS.get(knobs.mode, Origin)(
        configuration.name,
        _database(configuration, files, knobs),
        knobs,
        requests_max=configuration.knobs.requests_max,
        grants=variant(bug, Grants)(
            margin_percent=configuration.knobs.clock_margin_percent, grants_max=knobs.grants_max
        ),
        recalls=variant(bug, Recalls)(retry_ns=knobs.retry_ms * 1_000_000),
    )
    return origin


def _database(configuration: NodeConfiguration, files: Files, knobs: CacheKnobs) -> OriginDatabase:
    if knobs.database != "log":
        if not hasattr(files, "at_next_sync"):
            raise NodeFailure(
                f"the database {knobs.database!r} needs a real directory: here there is only log"
            )
        return _real_database(cast("FilesInDirectory", files), configuration, knobs)
    return LogDatabase(files, cluster=configuration.cluster, node=configuration.name)


def _real_database(
    files: FilesInDirectory, configuration: NodeConfiguration, knobs: CacheKnobs
) -> OriginDatabase:
    if knobs.database.startswith("postgresql:"):
        # Only a node that is told to use it needs it.
        module = import_module("foreshock.targets.reference.node.cache.postgresql")
        try:
            database: OriginDatabase = module.PostgresDatabase(
                files, knobs.database, cluster=configuration.cluster
            )
        except ValueError as problem:
            raise NodeFailure(str(problem)) from problem
        return database
    return SqliteDatabase(files, cluster=configuration.cluster, node=configuration.name)


def _store(files: Files, knobs: CacheKnobs, bug: type[Any] | None) -> CopyStore:
    if knobs.store == "disk":
        store: CopyStore = variant(bug, DiskStore)(
            files, entries_max=knobs.entries_max, bytes_max=knobs.bytes_max
        )
        return store
    return MemoryStore(entries_max=knobs.entries_max, bytes_max=knobs.bytes_max)


PROGRAM = ProgramKind(knobs=CacheKnobs, build=_build, encode=encode, decode=decode)
