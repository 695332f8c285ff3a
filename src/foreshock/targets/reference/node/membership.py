"""What is the same in all protocols when members or leaders change: whom that may be about, and who is told no.

When a change is safe, and how it is made, is each protocol's own; see its ``membership.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from foreshock.targets.reference.node.consensus import ChangeMembership, TransferLeadership
from foreshock.targets.reference.node.replica_state import ReplicaState

NS_PER_MS: Final = 1_000_000

K = TypeVar("K")


class Transfer(NamedTuple):
    """Leadership on its way to ``target``."""

    proposal: int
    target: str
    told: bool
    """Whether the target was told to take over; from then on it may lead at any time."""
    deadline_ns: int


class Joining(NamedTuple):
    """A new member that is catching up, in rounds, before it becomes one."""

    proposal: int
    name: str
    round: int
    round_end: int
    """What it must have of the log, or know to be chosen, for this round to end."""
    round_began_ns: int
    deadline_ns: int


class MembershipState(ReplicaState[K]):
    """A replica that may be asked to change its members, or to hand leadership over."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: K,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs, random_bits, now_ns)
        self._transfer: Transfer | None = None

    @property
    @abstractmethod
    def leading(self) -> bool:
        """Whether this replica believes that it leads."""

    @property
    @abstractmethod
    def members(self) -> tuple[str, ...]:
        """The latest configuration that it knows."""

    @abstractmethod
    def _most_advanced(self) -> str | None:
        """Which other member has most of what it needs to lead, if there is one that a leader hears."""

    @abstractmethod
    def _transfer_wait_ms(self) -> int:
        """How long a successor gets to take over."""

    @abstractmethod
    def _may_change_members(self) -> bool:
        """Whether the last change of membership is over, and the next one safe."""

    def _change_obstacle(self, event: ChangeMembership) -> str | None:
        """Why this change may not begin now, in a sentence; ``None`` when it may."""
        if not self.leading:
            return "this node does not lead"
        if self._transfer is not None:
            return f"leadership is being handed to {self._transfer.target}"
        if not self._may_change_members():
            return "another change of membership is under way, or this leader has committed nothing yet"
        return self._member_obstacle(event)

    def _member_obstacle(self, event: ChangeMembership) -> str | None:
        """Why this cannot be a change of one member of the latest configuration; ``None`` when it can."""
        members = self.members
        if (event.add is None) == (event.remove is None):
            return "a change of membership either adds one member or removes one"
        if event.add is not None and (not event.add or event.add in members):
            return f"{event.add!r} cannot be added: it is a member already, or no name"
        if event.remove is not None and event.remove not in members:
            return f"{event.remove!r} cannot be removed: it is not a member"
        if event.remove is not None and len(members) == 1:
            return f"{event.remove!r} cannot be removed: it is the last member"
        return None

    def _on_transfer_leadership(self, event: TransferLeadership) -> None:
        """Begin to hand over: no new proposals until the target leads or the time for it has passed."""
        target = event.target if event.target is not None else self._most_advanced()
        if not self.leading:
            self._refuse(event.proposal, "this node does not lead")
        elif self._transfer is not None:
            self._refuse(event.proposal, f"leadership is being handed to {self._transfer.target} already")
        elif target == self._name:
            self._output.done.append(event.proposal)
        elif target is None or target not in self.members:
            self._refuse(event.proposal, f"{target!r} cannot lead: it is not a member")
        else:
            deadline_ns = self._now + self._transfer_wait_ms() * NS_PER_MS
            self._transfer = Transfer(event.proposal, target, False, deadline_ns)

    def _end_transfer(self, transfer: Transfer, reason: str) -> None:
        self._transfer = None
        self._refuse(transfer.proposal, reason, definite=not transfer.told)
