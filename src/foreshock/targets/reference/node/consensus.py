"""The one interface of the three protocols: events in, outputs out.

A replica is a state machine in the manner of a pure function: ``replica.step(event, now_ns) -> Output``. It
never reads a clock, a socket, a file or a random source of its own (randomness is handed to it at its making).

The driver's obligations, in this order, for every ``Output``:

1. append ``persist`` to stable storage in the given order; when the storage reports it durable, step
   ``Durable(up_to)`` with the ``sequence`` of the last durable record. *The replica itself holds back* every
   message that depends on durability until then, so all of ``send`` may leave at once;
2. send ``send``; loss, delay, duplication and reordering are all allowed;
3. if ``restore`` is there, replace the state machine by that snapshot first; then apply ``committed`` in order;
4. answer ``reads`` (the state machine has applied at least ``after_index`` by then) and ``refused``;
5. step ``Tick()`` no later than ``deadline_ns``.

A Record, a Message, a command and a snapshot are JSON values or NamedTuples of JSON values; nobody mutates one
once it has been handed over.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

Command = Any
"""An opaque JSON value that the state machine understands; ``None`` is never one."""


class Entry(NamedTuple):
    """One entry of the replicated log. ``kind`` is ``command``, ``noop`` or ``configuration``."""

    position: int
    term: int
    kind: str
    data: Any


class Snapshot(NamedTuple):
    """The state machine after the entry at ``position``, which is of ``term``, and the members then."""

    position: int
    term: int
    members: tuple[str, ...]
    data: Any


class Record(NamedTuple):
    """Something to make durable. ``sequence`` counts up from 1 over the life of the replica object.

    ``kind`` and ``data``: ``state`` (a JSON object with the protocol's durable scalars), ``entries`` (a list of
    entries as lists ``[position, term, kind, data]``, which replace everything at and after the first one's position),
    ``truncate`` (a position: every entry after it is gone), ``accepted`` (a list of ``[slot, ballot, kind, data]``, in
    any order and with gaps; each replaces what was accepted in its slot before, and no other slot),
    ``snapshot`` (``[position, term, members, data]``, which replaces everything up to its position: entries after it
    stay if the log held the entry that it ends with, accepted slots after it stay in any case).
    """

    sequence: int
    kind: str
    data: Any


# --- events ---------------------------------------------------------------------------------------------------


class Receive(NamedTuple):
    """A message of a peer arrived."""

    source: str
    message: Any


class Tick(NamedTuple):
    """Time has passed; stepped at the deadline that the last output named, or earlier."""


class Durable(NamedTuple):
    """Every record with ``sequence <= up_to`` is on stable storage."""

    up_to: int


class Propose(NamedTuple):
    """Replicate a command. Answered by its commitment (driver matches on ``proposal``), or by ``refused``."""

    proposal: int
    command: Command


class Read(NamedTuple):
    """A linearizable read wants to run: answered in ``reads`` or ``refused``."""

    read: int


class ChangeMembership(NamedTuple):
    """Add or remove one member. Answered as a proposal is."""

    proposal: int
    add: str | None
    remove: str | None


class TransferLeadership(NamedTuple):
    """Hand leadership to ``target`` (or to the most advanced follower). Answered in ``done`` or ``refused``."""

    proposal: int
    target: str | None


class Compact(NamedTuple):
    """The driver took a snapshot of the state machine after the applied entry ``through``: the log may be cut there."""

    through: int
    data: Any


Event = Receive | Tick | Durable | Propose | Read | ChangeMembership | TransferLeadership | Compact


# --- outputs --------------------------------------------------------------------------------------------------


class Committed(NamedTuple):
    """An entry to apply. ``proposal`` is ours when this replica proposed it in this life, else ``None``."""

    entry: Entry
    proposal: int | None


class ReadReady(NamedTuple):
    """The read may be answered from the state machine once it has applied ``after_index``."""

    read: int
    after_index: int


class Refused(NamedTuple):
    """A request of this replica's own clients that it will not carry out.

    ``definite``: it certainly has no effect (never appended). Otherwise it may still be committed by another
    leader. ``leader`` is a hint where to go, if known.
    """

    request: int
    definite: bool
    reason: str
    leader: str | None


class Output:
    """What one step asks of the driver; see the module's text for the order of things."""

    __slots__ = ("committed", "deadline_ns", "done", "persist", "reads", "refused", "restore", "send")

    def __init__(self) -> None:
        self.persist: list[Record] = []
        self.send: list[tuple[str, Any]] = []
        self.restore: Snapshot | None = None
        self.committed: list[Committed] = []
        self.reads: list[ReadReady] = []
        self.refused: list[Refused] = []
        self.done: list[int] = []
        self.deadline_ns: int = 0


class Replica(Protocol):
    """One member of a replicated log, whatever the protocol.

    Made by ``recover(...)`` of its protocol from the durable records in their order (see ``Record``); on recovery
    ``restore`` and everything known to be committed comes out of the first ``step``.
    """

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this replica knows."""

    @property
    def leading(self) -> bool:
        """Whether this replica believes that it leads."""

    @property
    def members(self) -> tuple[str, ...]:
        """The latest configuration in the log."""

    def entry(self, position: int) -> Entry | None:
        """The entry in the log in memory at a position, committed or not; ``None`` where there is none (any more)."""

    def step(self, event: Event, now_ns: int) -> Output:
        """Take one event. Never raises on what a peer sends: nonsense is dropped and counted."""

    def describe(self) -> dict[str, Any]:
        """The state in a few JSON scalars, for the ``status`` request and the invariants (term, role, indexes)."""
