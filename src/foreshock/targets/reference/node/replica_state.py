"""What the replicas of all protocols are before they are of one: events in, outputs out, and what is durable.

*Durability*: what is written becomes durable later, in the order of writing. Whatever is said on the strength of it is
held back until then; by which record, and how it is said, is the protocol's affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from foreshock.targets.reference.node.consensus import (
    ChangeMembership,
    Compact,
    Durable,
    Event,
    Output,
    Propose,
    Read,
    Receive,
    Record,
    Refused,
    Snapshot,
    Tick,
    TransferLeadership,
)

K = TypeVar("K")


class ReplicaState(ABC, Generic[K]):
    """The part of a replica's state that no paper is about, and one step of it."""

    protocol: ClassVar[str]
    """Whose records it reads, for a person."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],  # noqa: ARG002 - the protocol's affair
        knobs: K,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        self._name = name
        self.accepts_snapshot: Callable[[Any], bool] = lambda _: True
        """Whether the state machine understands a snapshot's data; one that it does not is dropped and counted."""
        self.knobs = knobs
        self._random_bits = random_bits
        self._now = now_ns
        self._output = Output()
        self._leader: str | None = None
        self.commit = 0
        """Everything up to here is known to be committed, or chosen."""
        self.applied = 0
        """Up to here it was handed over."""
        self.dropped = 0
        """How many messages made no sense."""

        self.snapshot: Snapshot | None = None
        """The latest; durable once its record is."""
        self._restore: Snapshot | None = None
        self._written = 0
        self._synced = 0
        self._noted = 0
        self._state_sequence = 0

        self._event_handlers: dict[type, Callable[[Any], None]] = {
            Receive: self._on_receive,
            Tick: self._on_tick,
            Durable: self._on_durable,
            Propose: self._on_propose,
            Read: self._on_read,
            ChangeMembership: self._on_change_membership,
            TransferLeadership: self._on_transfer_leadership,
            Compact: self._on_compact,
        }

    @classmethod
    def recover(
        cls,
        name: str,
        members: Sequence[str],
        records: Iterable[Record],
        knobs: K,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> Self:
        """A replica from its durable records, in their order; none at all for one that never ran.

        ``members`` is the first configuration, the same on every node that starts the cluster; a node that is to
        join later starts with none. Raises ``ValueError`` when a record is none of the protocol's.
        """
        replica = cls(name, members, knobs, random_bits, now_ns)
        for record in records:
            try:
                replica._replay(record)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise ValueError(
                    f"record {record.sequence} of the log is none of {cls.protocol}'s: {error}"
                ) from error
        replica._restore = replica.snapshot
        replica._resume()
        return replica

    @abstractmethod
    def _replay(self, record: Record) -> None:
        """Take a durable record back; raises what comes of one that is none of the protocol's."""

    @abstractmethod
    def _resume(self) -> None:
        """Draw the consequences of the records that were taken back."""

    # --- what the driver sees ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The node's name."""
        return self._name

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this replica knows."""
        return self._leader

    def step(self, event: Event, now_ns: int) -> Output:
        """Take one event. Never raises on what a peer sends: nonsense is dropped and counted."""
        output = self._output = Output()
        self._now = now_ns
        if self._restore is not None:
            output.restore, self._restore = self._restore, None
        self._event_handlers[type(event)](event)
        self._settle()
        return output

    # --- one step ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _settle(self) -> None:
        """Draw the consequences of an event; the same after every one, and none of them depends on its kind."""

    @abstractmethod
    def _on_receive(self, event: Receive) -> None:
        """A message of a peer; it may be anything."""

    @abstractmethod
    def _on_tick(self, event: Tick) -> None:
        """Do what is due."""

    @abstractmethod
    def _on_propose(self, event: Propose) -> None:
        """Replicate a command, or say why not."""

    @abstractmethod
    def _on_read(self, event: Read) -> None:
        """Answer a read when that is safe, or say why not."""

    @abstractmethod
    def _on_change_membership(self, event: ChangeMembership) -> None:
        """Begin to add or remove one member, or say why not."""

    @abstractmethod
    def _on_transfer_leadership(self, event: TransferLeadership) -> None:
        """Begin to hand over, or say why not."""

    @abstractmethod
    def _on_compact(self, event: Compact) -> None:
        """Take over the driver's snapshot."""

    # --- the past, and what is durable of it ------------------------------------------------------------------

    def _write(self, kind: str, data: Any) -> int:
        """Ask for a record to be made durable; returns its sequence."""
        self._written += 1
        self._output.persist.append(Record(self._written, kind, data))
        return self._written

    def _save_state(self) -> None:
        """Write the protocol's scalars; those that were to be written last, with nothing after them, give way."""
        data = self._state_to_save()
        persist = self._output.persist
        if persist and persist[-1].kind == "state":
            persist[-1] = Record(self._written, "state", data)
        else:
            self._state_sequence = self._write("state", data)

    @abstractmethod
    def _state_to_save(self) -> dict[str, Any]:
        """The scalars that must outlive a crash."""

    def _on_durable(self, event: Durable) -> None:
        self._synced = max(self._synced, min(event.up_to, self._written))

    def _durable_sequence(self) -> int:
        """Up to which record everything is safe from a crash: what the driver has said, and nothing more."""
        return self._synced

    # --- talking ----------------------------------------------------------------------------------------------

    def _send(self, destination: str, message: Any) -> None:
        self._output.send.append((destination, message))

    def _refuse(self, request: int, reason: str, *, definite: bool = True) -> None:
        self._output.refused.append(Refused(request, definite, reason, self._leader))
