"""The state that all parts of a Zab replica share, and what changes it in one place.

*Durable* are the accepted epoch (``f.p`` of the paper: the promise to follow nobody of an earlier epoch), the current
epoch (``f.a``: the last whose leader's history this node has taken over) and the history. What is written becomes
durable later, in the order of writing, and whatever is said on the strength of it is held back until then. So the
history is durable before the current epoch that vouches for it, and both before the ACK of NEWLEADER: ZooKeeper had
them in other orders and lost committed transactions (ZOOKEEPER-3911, ZOOKEEPER-4643, ZOOKEEPER-4646).

*Configurations* act as soon as they are in the history, committed or not: see ``membership.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final

from foreshock.targets.reference.node.logged_state import LoggedState
from foreshock.targets.reference.node.zab.channel import Channel
from foreshock.targets.reference.node.zab.history import History
from foreshock.targets.reference.node.zab.knobs import ZabKnobs
from foreshock.targets.reference.node.zab.messages import Payload

NS_PER_MS: Final = 1_000_000


class Role(StrEnum):
    """What a node is at present, in ZooKeeper's words."""

    LOOKING = "looking"
    FOLLOWING = "following"
    LEADING = "leading"


class Phase(StrEnum):
    """How far a node has come with its leader, or the leader with its followers."""

    ELECTION = "election"
    DISCOVERY = "discovery"
    SYNCHRONIZATION = "synchronization"
    BROADCAST = "broadcast"


LOOKING, FOLLOWING, LEADING = Role
ELECTION, DISCOVERY, SYNCHRONIZATION, BROADCAST = Phase


class ZabState(LoggedState[ZabKnobs]):
    """The fields of one replica and the few moves that every part makes."""

    protocol: ClassVar[str] = "Zab"
    log: History

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        knobs: ZabKnobs,
        random_bits: Callable[[int], int],
        now_ns: int,
    ) -> None:
        super().__init__(name, members, knobs.checked(), random_bits, now_ns)

        # Durable.
        self.accepted = 0
        self.current = 0
        self.log = History()

        # What waits until they are.
        self._held: deque[tuple[int, Channel, Payload]] = deque()

        # Volatile.
        self.role = LOOKING
        self.phase = ELECTION
        self.epoch = 0
        """The epoch of the leader that this node follows, or its own as a leader; 0 while none is known."""
        self._preferred_until_ns = -1

        self._adopt_configuration()

    # --- the past, and what is durable of it ------------------------------------------------------------------

    def _save_epochs(self) -> None:
        """Write both epochs, after everything that was written before them."""
        self._state_sequence = self._write("state", self._state_to_save())

    def _state_to_save(self) -> dict[str, Any]:
        """What must outlive a crash beside the history: the promise, and for which epoch the history stands."""
        return {"accepted": self.accepted, "current": self.current}

    def _epochs_are_durable(self) -> bool:
        return self._state_sequence <= self._durable_sequence()

    def _cut_log(self, last: int) -> None:
        """Forget the entries after a position, on disk too."""
        self._write("truncate", last)
        self._forget_entries_after(last)

    # --- talking ----------------------------------------------------------------------------------------------

    def _tell(self, channel: Channel, payload: Payload) -> None:
        """Send the next frame of a channel."""
        self._output.send.append((channel.peer, channel.frame(payload)))

    def _tell_when_durable(self, channel: Channel, payload: Payload) -> None:
        """Send once the epochs, and with them all records before, are durable, if the channel still stands then."""
        self._held.append((self._state_sequence, channel, payload))

    def _open_channel(self, peer: str, session: int) -> Channel:
        """A channel that asks again for what has been missing for a quarter of a heartbeat."""
        return Channel(peer, session, self.knobs.heartbeat_ms * NS_PER_MS // 4, self._now)

    # --- configurations ---------------------------------------------------------------------------------------

    def _adopt_configuration(self) -> None:
        """Count by the latest configuration from now on."""
        super()._adopt_configuration()
        self._matches_moved = True

    def _is_quorum(self, names: Iterable[str]) -> bool:
        """Whether a majority of the voters is among these."""
        voters = self._voters
        return sum(name in voters for name in set(names)) >= self._majority

    def _quorum_value(self, values: dict[str, int], ours: int) -> int:
        """The greatest value that a majority of the voters have reached; -1 stands for those without one."""
        name = self._name
        reached = sorted(ours if voter == name else values.get(voter, -1) for voter in self._voters)
        return reached[len(reached) - self._majority] if reached else -1
