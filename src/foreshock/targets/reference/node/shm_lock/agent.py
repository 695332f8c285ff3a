"""The lock agent, sans I/O: takes locks in shared memory on behalf of its clients, in competition with other agents.

Between the clients of one agent it is as in ``tcp_lock/lock_server.py``: a lock lives with its client's connection,
those who wait are served in order, who is silent for too long is given up. Between agents the kernel decides: an agent
holds a lock while it holds the kernel's lock of a *cell* in the shared memory, which also tells the last fencing token.

*Owner death.* The kernel frees the cell's lock when its agent dies. Whoever takes it then finds the grant still in
force: the owner died, and what it guarded may be half done (as with the robust mutexes of POSIX, which say
``EOWNERDEAD``). Nobody told the dead agent's client, which believes in its lock until the time to live after the call
of its last request that was answered, and that was before the death. So the finder keeps the cell's lock and waits for
the time to live and the margin from when it found it; only then it grants, with a greater token than the dead owner's.
Should it die meanwhile, the grant is in force as before, and the next one waits anew.

*A stopped agent* keeps what it holds, for the kernel does: there is no expiry, and its locks are had again when it goes
on. Its clients get no answers, so they give up believing long before.

There is no line across agents: each looks again and again whether the cell is free, at moments drawn at random. One
that has passed its turn on lets a round go by before it asks again, so that a busy agent does not keep the others out.
"""

from __future__ import annotations

from collections.abc import Callable

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.shm_lock.cells import Grant, cell_name, read_grant, write_grant
from foreshock.targets.reference.node.shm_lock.knobs import ShmLockKnobs
from foreshock.targets.reference.node.shm_lock.memory import SharedMemory
from foreshock.targets.reference.node.tcp_lock.lock_server import ConnectionLocks
from foreshock.targets.reference.node.tcp_lock.requests import LockRequest
from foreshock.targets.reference.node.tcp_lock.table import Key

_MS = 1_000_000
_NEVER_NS = 1 << 62


class LockAgent(ConnectionLocks):
    """One of the agents of a host."""

    def __init__(
        self,
        configuration: NodeConfiguration,
        knobs: ShmLockKnobs,
        memory: SharedMemory,
        random_bits: Callable[[int], int],
    ) -> None:
        super().__init__(configuration, knobs.for_connections())
        self._memory = memory
        self._random_bits = random_bits
        self._poll_ns = knobs.poll_ms * _MS
        self._next_poll_ns = 0
        self._granted: dict[Key, int] = {}
        """The token of each lock that a connection here holds."""
        self._recovering: dict[Key, int] = {}
        """Until when each lock, whose cell's lock is held here, is kept from everybody because its owner died."""
        self._not_before: dict[Key, int] = {}
        """When a lock that was held here a moment ago may be asked for again."""

    def claim(self, key: Key) -> int | None:
        """The next token, if the cell is ours and nobody can believe in the grant that it tells of."""
        name = cell_name(key)
        if key in self._recovering:
            if self.now_ns < self._recovering[key]:
                return None
            del self._recovering[key]
        elif self.now_ns < self._not_before.get(key, 0) or not self._memory.try_lock(name):
            return None
        elif self.owner_died(read_grant(self._memory, name)):
            self._recovering[key] = self.now_ns + self.knobs.silence_ns
            text = f"{self.name} finds that the owner of the lock {key!r} died; it waits for {self._silence_ms} ms"
            self.effects.logs.append(text)
            return None
        token = read_grant(self._memory, name).token + 1
        write_grant(self._memory, name, Grant(token, held=True))
        self._granted[key] = token
        return token

    def owner_died(self, grant: Grant) -> bool:
        """Whether a grant that is found under a lock of the kernel's that was free has never been given back."""
        return grant.held

    def disclaim(self, key: Key) -> None:
        """Give the lock back: first the cell says so, and then it is free."""
        self._give_back(key, self._granted.pop(key))
        self._not_before[key] = self.now_ns + self._poll_ns

    def next_claim_ns(self) -> int:
        """When to look at the cells again, if anybody waits; or when the wait for a dead owner's client is over."""
        if self.table.waiting and self._next_poll_ns <= self.now_ns:
            # Between half of the time and one and a half: agents that asked at one moment do not do so again.
            self._next_poll_ns = (
                self.now_ns + self._poll_ns // 2 + self._random_bits(10) * self._poll_ns // 1024
            )
        recovered_ns = min(self._recovering.values(), default=_NEVER_NS)
        return min(recovered_ns, self._next_poll_ns if self.table.waiting else _NEVER_NS)

    def on_tick(self, now_ns: int) -> Effects:
        """Time has passed. Early is harmless."""
        effects = super().on_tick(now_ns)
        for key in [key for key, until_ns in self._recovering.items() if until_ns <= now_ns]:
            # Nobody here wants it any more: whoever asks next, here or elsewhere, need not wait again.
            del self._recovering[key]
            self._give_back(key, read_grant(self._memory, cell_name(key)).token)
        for key in [key for key, until_ns in self._not_before.items() if until_ns <= now_ns]:
            del self._not_before[key]
        self.deadline_ns = min(self.deadline_ns, self.next_claim_ns())
        return effects

    def describe(self) -> Body:
        """The answer to ``status``."""
        return {**super().describe(), "recovering": len(self._recovering)}

    def refused_for_room(self, request: LockRequest) -> Body | None:
        """Refuse a lock that would need a cell more than there may be."""
        if self._memory.is_full(cell_name(request.key)):
            return error(
                codes.TEMPORARILY_UNAVAILABLE, f"there are {self.knobs.locks_max} locks in the shared memory"
            )
        return super().refused_for_room(request)

    def _give_back(self, key: Key, token: int) -> None:
        name = cell_name(key)
        write_grant(self._memory, name, Grant(token, held=False))
        self._memory.unlock(name)
