"""The lock server, sans I/O: mutual exclusion by name, each owner a connection, granted in the order of asking.

A lock is held by a connection until its client releases it or the connection ends. A connection that is *half-open*
(its client is gone, or stands still, and nobody closed it) is found by keep-alive: a client that holds a lock or waits
for one is pinged when it was silent for ``ping_ms``, and answers when it next reads; one that was silent for
``ttl_ms`` and the margin is taken for gone, its connection is closed and what it held is passed on.

Why nobody believes in a lock any more when it is passed on. A grant carries ``ttl_ms``, T: its client believes in it
until T after it *sent* the last request that was answered, an acquire or a renew, by its own clock. Call s the moment
when it was sent and h the moment when the server took it in; h is not before s.

1. The client released the lock, or closed the connection: both end its belief before the server hears of it.
2. The connection was silent. Then the server has waited for T and the margin since h, or since something that it heard
   later, by its own monotonic clock. With clocks that run at rates within the margin of one another, that is after
   s + T by the client's.
3. The server *stood still* (SIGSTOP, a frozen machine) and goes on. Silence is counted from when a message is taken in,
   so what waited in the sockets makes h later, never earlier; and the time that has passed has passed for the clients,
   too. A server that closes the connection of a client whose messages it has not read yet costs that client its lock,
   but breaks nothing: 2 holds for it.
4. The server *died* and a new one started. It knows of no grant, but all of them were answered before it started, on
   connections that ended then. So it grants nothing until T and the margin after its start (its first start alone
   needs no such wait: there was nobody before it). Tokens go on growing, for what was reserved is on stable storage
   before any of it is used (``tokens.py``).

A client that stands still between its last look at the clock and its use of the resource believes longer than that:
against it, and against clocks whose rates differ by more than the margin, only fencing tokens help.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.requests import BadRequest
from foreshock.targets.reference.node.tcp_lock.knobs import TcpLockKnobs
from foreshock.targets.reference.node.tcp_lock.requests import LockRequest, parse_lock_request
from foreshock.targets.reference.node.tcp_lock.table import Key, LockTable, Waiter
from foreshock.targets.reference.node.tcp_lock.tokens import TokenCounter
from foreshock.targets.reference.node.wire import reply_to

_MS = 1_000_000
_NEVER_NS = 1 << 62
_DISK_MS = 1_000


class ConnectionLocks:
    """Locks for connections, all but the question whether a lock that nobody *here* holds may be granted.

    A subclass answers that in :meth:`claim`, and hears in :meth:`disclaim` that a lock is held no more.
    """

    def __init__(self, configuration: NodeConfiguration, knobs: TcpLockKnobs) -> None:
        self.name = configuration.name
        self.knobs = knobs
        self.table = LockTable()
        self.deadline_ns = 0
        """When ``on_tick`` is due, if nothing else happens before."""
        self.now_ns = 0
        self.effects = Effects()
        self._program = configuration.program
        self._cluster = configuration.cluster
        self._look_ns = _NEVER_NS
        self._heard_ns: dict[int, int] = {}
        self._pinged_ns: dict[int, int] = {}

    # --- what a subclass decides --------------------------------------------------------------------------------

    def claim(self, key: Key) -> int | None:
        """The token of a new grant of a lock that no connection here holds, or ``None`` while it may not be granted."""
        raise NotImplementedError

    def disclaim(self, key: Key) -> None:
        """The lock that was claimed is held by no connection here any more."""
        raise NotImplementedError

    def next_claim_ns(self) -> int:
        """When to try again to claim what is waited for; far off where nothing is, or where trying sooner is no use."""
        raise NotImplementedError

    def patience_ms(self) -> int:
        """How long one who does not want to wait for a free lock does so all the same, for the sake of the server."""
        return 0

    def first_words(self) -> str:
        """What the log says at the start."""
        return (
            f"{self.name} starts with no lock held; a silent client is given up after {self._silence_ms} ms"
        )

    # --- what the shell calls -----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> Effects:
        """Called once, first."""
        self.now_ns = now_ns
        self.effects.logs.append(self.first_words())
        return self._take_effects()

    def on_tick(self, now_ns: int) -> Effects:
        """Time has passed. Early is harmless."""
        self.now_ns = now_ns
        for connection, waiter, key in self.table.overdue(now_ns):
            self._answer(connection, waiter.message, _not_granted(key))
        if now_ns >= self._look_ns:
            for connection in self.table.concerned():
                self._look_after(connection)
            self._look_ns = self._next_look_ns()
        self.serve(self.table.waited_for())
        return self._take_effects()

    def on_synced(self, up_to: int, now_ns: int) -> Effects:  # noqa: ARG002
        """Everything written before the sync that was asked for with this number is on stable storage."""
        self.now_ns = now_ns
        self.serve(self.table.waited_for())
        return self._take_effects()

    def on_peer(self, source: str, message: Any, now_ns: int) -> Effects:  # noqa: ARG002
        """Nothing to do: lock servers do not talk to each other."""
        return self._take_effects()

    def on_request(self, connection: int, message: Any, now_ns: int) -> Effects:
        """A message of a client arrived; whatever it is, its client is there."""
        self.now_ns = now_ns
        self._heard_ns[connection] = now_ns
        self._look_ns = min(self._look_ns, now_ns + self.knobs.ping_ns)
        try:
            request = parse_lock_request(message, self.name)
        except BadRequest as problem:
            asked = message if isinstance(message, dict) else {}
            self._answer(connection, asked, error(problem.code, str(problem)))
        else:
            self._dispatch(connection, message, request)
        return self._take_effects()

    def on_close(self, connection: int, now_ns: int) -> Effects:
        """A client's connection is gone, and with it all that it held and all that it waited for."""
        self.now_ns = now_ns
        self._drop(connection)
        return self._take_effects()

    # --- requests -----------------------------------------------------------------------------------------------

    def _dispatch(self, connection: int, message: Any, request: LockRequest) -> None:
        match request.kind:
            case "acquire":
                self._acquire(connection, message, request)
            case "renew":
                refusal = self.refusal(connection, request)
                lock = self.table.find(request.key)
                renewed = {"type": "renew_ok", "token": lock and lock.token, "ttl_ms": self.knobs.ttl_ms}
                self._answer(connection, message, refusal or renewed)
            case "release":
                refusal = self.refusal(connection, request)
                if refusal is None:
                    self.let_go(connection, request.key)
                self._answer(connection, message, refusal or {"type": "release_ok"})
            case "holder":
                self._answer(connection, message, self._holder(request.key))
            case "status":
                self._answer(connection, message, self.describe())

    def _acquire(self, connection: int, message: Any, request: LockRequest) -> None:
        key, wait_ms, lock = request.key, request.wait_ms, self.table.find(request.key)
        if lock is None or (lock.owner is None and not lock.line):
            refusal = None if lock is not None else self.refused_for_room(request)
            token = self.claim(key) if refusal is None else None
            if token is not None:
                self._grant(connection, message, key, token)
                return
            wait_ms = max(wait_ms, self.patience_ms())
        else:
            refusal = self._concerned_already(connection, key)
        if refusal is None and wait_ms <= 0:
            refusal = _not_granted(key)
        if refusal is None and self.table.waiting >= self.knobs.waiters_max:
            busy = f"too busy: {self.knobs.waiters_max} clients wait for locks here"
            refusal = error(codes.TEMPORARILY_UNAVAILABLE, busy)
        if refusal is not None:
            self._answer(connection, message, refusal)
        else:
            self.table.queue(connection, key, Waiter(message, self.now_ns + wait_ms * _MS))

    def _concerned_already(self, connection: int, key: Key) -> Body | None:
        lock = self.table.find(key)
        if lock is None or connection not in (lock.owner, *lock.line):
            return None
        held = f"the connection holds the lock {key!r}, or waits for it, already"
        return error(codes.PRECONDITION_FAILED, held)

    def refused_for_room(self, request: LockRequest) -> Body | None:  # noqa: ARG002
        """Why a lock that nobody here holds or waits for is one too many; ``None`` when it is not."""
        if len(self.table) < self.knobs.locks_max:
            return None
        busy = f"too busy: {self.knobs.locks_max} locks are held or waited for here"
        return error(codes.TEMPORARILY_UNAVAILABLE, busy)

    def refusal(self, connection: int, request: LockRequest) -> Body | None:
        """Why a request that only the lock's holder may make is refused; ``None`` when it is not."""
        lock = self.table.find(request.key)
        if lock is None or lock.owner != connection:
            return error(codes.PRECONDITION_FAILED, f"this connection does not hold the lock {request.key!r}")
        if request.token not in (None, lock.token):
            text = f"the lock {request.key!r} is held by grant {lock.token}, not by the one named"
            return error(codes.PRECONDITION_FAILED, text)
        return None

    def let_go(self, connection: int, key: Key) -> None:
        """The connection neither holds the lock nor waits for it any more; whoever is next has it, if it may be."""
        if self.table.drop(connection, key):
            self.disclaim(key)
            self.serve((key,))

    def serve(self, keys: Iterable[Key]) -> None:
        """Grant what may be granted to those who wait for it."""
        for key in keys:
            lock = self.table.find(key)
            if lock is None or lock.owner is not None or not lock.line:
                continue
            token = self.claim(key)
            heir = self.table.take_next(key) if token is not None else None
            if token is not None and heir is not None:
                self._grant(heir[0], heir[1].message, key, token)

    def _grant(self, connection: int, message: Any, key: Key, token: int) -> None:
        self.table.grant(connection, key, token)
        granted = {"type": "acquire_ok", "granted": True, "token": token, "ttl_ms": self.knobs.ttl_ms}
        self._answer(connection, message, granted)

    def _holder(self, key: Key) -> Body:
        lock = self.table.find(key)
        owner, waiting = (None, 0) if lock is None else (lock.owner, len(lock.line))
        token = None if lock is None or owner is None else lock.token
        return {"type": "holder_ok", "client": owner, "token": token, "waiting": waiting}

    def _answer(self, connection: int, message: Any, body: Body) -> None:
        self.effects.replies.append((connection, reply_to(message, self.name, body)))

    # --- connections --------------------------------------------------------------------------------------------

    @property
    def _silence_ms(self) -> int:
        return self.knobs.silence_ns // _MS

    def _look_after(self, connection: int) -> None:
        """Ask a silent client whether it is there; give up one that has been silent for too long."""
        heard_ns = self._heard_ns[connection]
        if self.now_ns - heard_ns >= self.knobs.silence_ns:
            self.effects.logs.append(
                f"{self.name} closes the connection of a client that was silent for {self._silence_ms} ms"
            )
            self.effects.close.append(connection)
            self._drop(connection)
        elif self.now_ns - max(heard_ns, self._pinged_ns.get(connection, 0)) >= self.knobs.ping_ns:
            self._pinged_ns[connection] = self.now_ns
            ping = {"src": self.name, "dest": None, "body": {"type": "ping", "in_reply_to": None}}
            self.effects.replies.append((connection, ping))

    def _drop(self, connection: int) -> None:
        for key in self.table.keys_of(connection):
            self.let_go(connection, key)
        self._heard_ns.pop(connection, None)
        self._pinged_ns.pop(connection, None)

    def _next_look_ns(self) -> int:
        """When the first client that matters will have been silent for long enough to be asked, or to be given up."""
        silence_ns, ping_ns = self.knobs.silence_ns, self.knobs.ping_ns
        soonest = _NEVER_NS
        for connection in self.table.concerned():
            heard_ns = self._heard_ns[connection]
            asked_ns = max(heard_ns, self._pinged_ns.get(connection, 0))
            soonest = min(soonest, heard_ns + silence_ns, asked_ns + ping_ns)
        return soonest

    # --- the rest -----------------------------------------------------------------------------------------------

    def describe(self) -> Body:
        """The answer to ``status``."""
        return {
            "type": "status_ok",
            "name": self.name,
            "leader": self.name,
            "leading": True,
            "members": [self.name],
            "program": self._program,
            "cluster": self._cluster,
            "locks": len(self.table),
            "waiting": self.table.waiting,
        }

    def _take_effects(self) -> Effects:
        self.deadline_ns = min(self.table.deadline_ns, self._look_ns, self.next_claim_ns())
        effects, self.effects = self.effects, Effects()
        return effects


class LockServer(ConnectionLocks):
    """The one server of all locks: what no connection holds may be granted, once old beliefs have run out."""

    def __init__(
        self, configuration: NodeConfiguration, knobs: TcpLockKnobs, files: Files, now_ns: int
    ) -> None:
        super().__init__(configuration, knobs)
        self._tokens = TokenCounter(
            files, cluster=configuration.cluster, node=configuration.name, at_once=knobs.tokens_at_once
        )
        self.grants_from_ns = now_ns if self._tokens.is_first_life else now_ns + knobs.silence_ns
        """Until then clients may believe in grants of an earlier life of this node."""

    def claim(self, key: Key) -> int | None:  # noqa: ARG002
        """The next token, unless somebody may still believe in what was granted before this node started.

        There may be none for a moment: then the disk is at work, and all who wait are served when it is done.
        """
        if self.now_ns < self.grants_from_ns:
            return None
        token = self._tokens.take()
        self._reserve()
        return token

    def patience_ms(self) -> int:
        """As long as the disk may take, where nothing but the disk is in the way."""
        return 0 if self.now_ns < self.grants_from_ns else _DISK_MS

    def on_start(self, now_ns: int) -> Effects:
        """Called once, first: reserves the first tokens of this life."""
        self._reserve()
        return super().on_start(now_ns)

    def on_synced(self, up_to: int, now_ns: int) -> Effects:
        """More tokens are reserved, for those who wait."""
        self._tokens.synced(up_to)
        return super().on_synced(up_to, now_ns)

    def disclaim(self, key: Key) -> None:
        """Nothing to do: nobody else wants it."""

    def next_claim_ns(self) -> int:
        """When the old beliefs have run out."""
        return self.grants_from_ns if self.grants_from_ns > self.now_ns else _NEVER_NS

    def first_words(self) -> str:
        """What the log says at the start."""
        wait_ms = (self.grants_from_ns - self.now_ns) // _MS
        return (
            f"{super().first_words()}; it grants none for {wait_ms} ms"
            if wait_ms > 0
            else super().first_words()
        )

    def _reserve(self) -> None:
        if self._tokens.reserve():
            self.effects.sync_up_to = self._tokens.sync_up_to


def _not_granted(key: Key) -> Body:
    return error(codes.PRECONDITION_FAILED, f"the lock {key!r} was not granted in time")
