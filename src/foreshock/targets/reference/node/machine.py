"""The node, sans I/O: a replica of the log, the sessions and services on top of it, and the clients' protocol.

It is a :class:`foreshock.targets.reference.node.program.NodeProgram`: what its shell owes it is written there.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.consensus import (
    ChangeMembership,
    Committed,
    Compact,
    Durable,
    Event,
    Output,
    Propose,
    Read,
    ReadReady,
    Receive,
    Refused,
    Replica,
    Snapshot,
    Tick,
    TransferLeadership,
)
from foreshock.targets.reference.node.effects import Effects, NodeFailure
from foreshock.targets.reference.node.expiry import Expiry
from foreshock.targets.reference.node.knob_checks import check_integers
from foreshock.targets.reference.node.requests import (
    BadRequest,
    ChangeMembers,
    OpenSession,
    Query,
    Replicate,
    Status,
    Transfer,
    parse_request,
)
from foreshock.targets.reference.node.services.cache import CacheOrigin
from foreshock.targets.reference.node.services.lock import Locks
from foreshock.targets.reference.node.services.register import Registers
from foreshock.targets.reference.node.sessions import Sessions
from foreshock.targets.reference.node.storage import Storage
from foreshock.targets.reference.node.waiting import Asker, Lines, PendingRequests
from foreshock.targets.reference.node.wire import malformed, reply_to


class NodeKnobs(NamedTuple):
    """Limits of one node beside those of its protocol. None of them can break safety on clocks that run true."""

    sessions_max: int = 4096
    """How many client sessions there may be in the cluster (the leader's figure counts)."""

    requests_max: int = 10_000
    """How many requests may be under way at one node before it refuses more as too busy."""

    request_timeout_ms: int = 5_000
    """How long a request may be under way before its client is told that nobody knows."""

    clock_margin_percent: int = 20
    """By how much longer than its time to live a session may be silent: more than any two clocks' rates differ."""

    def checked(self) -> NodeKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when one makes no sense."""
        check_integers(self, from_zero=("clock_margin_percent",))
        return self


class Services(NamedTuple):
    """The classes of the replicated state machine; a planted bug may stand in for any of them."""

    sessions: type[Sessions] = Sessions
    registers: type[Registers] = Registers
    locks: type[Locks] = Locks
    origin: type[CacheOrigin] = CacheOrigin


_CORRECT: Final = Services()


class NodeMachine:
    """One node with a replica of the log inside."""

    def __init__(
        self,
        replica: Replica,
        storage: Storage,
        knobs: NodeKnobs,
        *,
        snapshot_after_entries: int,
        services: Services = _CORRECT,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.replica = replica
        self.registers, self.locks, self.origin = services.registers(), services.locks(), services.origin()
        self.sessions = services.sessions([self.registers, self.locks, self.origin])
        self.applied = 0
        """The position of the last entry applied."""
        self.deadline_ns = 0
        """When ``on_tick`` is due, if nothing else happens before."""
        self._storage = storage
        self._knobs = knobs
        self._snapshot_after_entries = snapshot_after_entries
        self._facts = facts or {}
        self._expiry = Expiry(self.sessions, margin_percent=knobs.clock_margin_percent)
        self._pending = PendingRequests(timeout_ns=knobs.request_timeout_ms * 1_000_000)
        self._lines = Lines()
        self._numbers = 0
        self._compacted = 0
        self._led = False
        self._effects = Effects()
        self._now_ns = 0

    # --- what the shell calls -----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> Effects:
        """Called once, first: recovers the state machine from what the disk held."""
        held = self.replica.describe()
        self._effects.logs.append(
            f"{self.replica.name} starts with a log up to entry {held.get('last')} (term {held.get('term')})"
        )
        if self._storage.torn:
            self._effects.logs.append(f"{self.replica.name} {self._storage.torn}")
        return self.on_tick(now_ns)

    def on_tick(self, now_ns: int) -> Effects:
        """Time has passed. Early is harmless."""
        self._now_ns = now_ns
        self._step(Tick())
        for late in self._pending.overdue(now_ns):
            if late.asker is not None:
                harmless = isinstance(late.request, Query)
                code = codes.TEMPORARILY_UNAVAILABLE if harmless else codes.TIMEOUT
                self._answer(late.asker, error(code, "there was no quorum in time"))
        for session, key, asker in self._lines.overdue(now_ns):
            self._answer(asker, self.locks.standing(session, key))
        silent = self._expiry.silent(now_ns)
        if silent:
            self._propose(None, Replicate(["expire", silent]))
        return self._take_effects()

    def on_synced(self, up_to: int, now_ns: int) -> Effects:
        """Everything appended before the sync that was asked for with this number is on stable storage."""
        self._now_ns = now_ns
        self._step(Durable(up_to))
        return self._take_effects()

    def on_peer(self, source: str, message: Any, now_ns: int) -> Effects:
        """A decoded protocol message of a peer arrived."""
        self._now_ns = now_ns
        self._step(Receive(source, message))
        return self._take_effects()

    def on_request(self, connection: int, message: Any, now_ns: int) -> Effects:
        """A message of a client arrived; whatever it is, it is answered, now or later."""
        self._now_ns = now_ns
        if not isinstance(message, dict) or not isinstance(message.get("body"), dict):
            text = 'a message must be an object with a body, such as {"body": {"type": "status"}}'
            self._effects.replies.append((connection, malformed(self.replica.name, text)))
            return self._take_effects()
        asker = Asker(connection, message)
        try:
            if message.get("dest", self.replica.name) != self.replica.name:
                raise BadRequest(
                    codes.MALFORMED, f"this is the node {self.replica.name}, not the one in dest"
                )
            request = parse_request(message["body"])
        except BadRequest as problem:
            self._answer(asker, error(problem.code, str(problem)))
            return self._take_effects()
        self._dispatch(asker, request)
        return self._take_effects()

    def understands(self, data: Any) -> bool:
        """Whether a snapshot with this data could be restored here: asked before it takes the place of the log."""
        trial = type(self.sessions)([type(service)() for service in self.sessions.services.values()])
        try:
            trial.restore(data)
        except ValueError:
            return False
        return True

    def on_close(self, connection: int, now_ns: int) -> Effects:
        """A client's connection is gone; what it had asked for may still happen."""
        self._now_ns = now_ns
        self._lines.forget(connection)
        return self._take_effects()

    # --- requests -----------------------------------------------------------------------------------------------

    def _dispatch(
        self, asker: Asker, request: Replicate | OpenSession | Query | ChangeMembers | Transfer | Status
    ) -> None:
        if isinstance(request, Status):
            self._answer(asker, self.describe())
            return
        if len(self._pending) + len(self._lines) >= self._knobs.requests_max:
            busy = f"too busy: {self._knobs.requests_max} requests are under way here"
            self._answer(asker, error(codes.TEMPORARILY_UNAVAILABLE, busy))
            return
        match request:
            case Replicate():
                self._propose(asker, request)
            case OpenSession(ttl_ms):
                self._propose(asker, Replicate(["open", ttl_ms, self._knobs.sessions_max]))
            case Query():
                number = self._number(asker, request)
                self._step(Read(number))
            case ChangeMembers(add, remove):
                number = self._number(asker, None)
                self._step(ChangeMembership(number, add, remove))
            case Transfer(target):
                number = self._number(asker, None)
                self._step(TransferLeadership(number, target))

    def _propose(self, asker: Asker | None, request: Replicate) -> None:
        number = self._number(asker, request)
        self._step(Propose(number, request.command))

    def _number(self, asker: Asker | None, request: Replicate | Query | None) -> int:
        self._numbers += 1
        self._pending.add(self._numbers, asker, request, self._now_ns)
        return self._numbers

    def _answer(self, asker: Asker, body: Body) -> None:
        self._effects.replies.append((asker.connection, reply_to(asker.message, self.replica.name, body)))

    # --- the replica's outputs ----------------------------------------------------------------------------------

    def _step(self, event: Event) -> None:
        self._absorb(self.replica.step(event, self._now_ns))
        if self.applied - self._compacted >= self._snapshot_after_entries:
            self._compacted = self.applied
            self._absorb(self.replica.step(Compact(self.applied, self.sessions.snapshot()), self._now_ns))

    def _absorb(self, output: Output) -> None:
        if output.persist:
            self._storage.append(output.persist)
            self._effects.sync_up_to = output.persist[-1].sequence
        if output.send:
            self._effects.send.extend(output.send)
        if output.restore is not None:
            self._restore(output.restore)
        for committed in output.committed:
            self._apply(committed)
        for ready in output.reads:
            self._read(ready)
        for refused in output.refused:
            self._refuse(refused)
        for number in output.done:
            done = self._pending.take(number)
            if done is not None and done.asker is not None:
                self._answer(done.asker, {"type": "transfer_leadership_ok"})
        self.deadline_ns = output.deadline_ns
        leading = self.replica.leading
        if leading is not self._led:
            self._led = leading
            self._expiry.lead(leading, self._now_ns)
            term = self.replica.describe().get("term")
            self._effects.logs.append(
                f"{self.replica.name} {'leads' if leading else 'leads no longer'} (term {term})"
            )

    def _restore(self, snapshot: Snapshot) -> None:
        try:
            self.sessions.restore(snapshot.data)
        except ValueError as problem:
            raise NodeFailure(
                f"{self.replica.name} cannot use the snapshot at {snapshot.position}: {problem}"
            ) from None
        self.locks.news.clear()
        self.applied = self._compacted = snapshot.position

    def _apply(self, committed: Committed) -> None:
        entry = committed.entry
        self.applied = entry.position
        pending = self._pending.take(committed.proposal)
        if entry.kind != "command":
            if pending is not None and pending.asker is not None:
                self._answer(pending.asker, {"type": "members_ok", "members": list(self.replica.members)})
            return
        command = entry.data
        reply = self.sessions.apply(entry.position, command)
        match command:
            case ["do", int(session), *_]:
                self._expiry.touch(session, self._now_ns)
            case ["open", *_]:
                self._expiry.touch(entry.position, self._now_ns)
        if pending is not None and pending.asker is not None and isinstance(pending.request, Replicate):
            self._answer_applied(pending.asker, pending.request, reply)
        if self.locks.news:
            self._tell_of_grants()

    def _answer_applied(self, asker: Asker, request: Replicate, reply: Body) -> None:
        """Answer, unless the client stands in line for a lock and is willing to wait for better news."""
        session, key = request.session, request.key
        if reply.get("queued") and request.wait_ms and session is not None and key is not None:
            reply = self.locks.standing(session, key)  # a retry's reply may have been overtaken by the grant
            state = self.sessions.get(session)
            if reply.get("queued") and state is not None:
                wait_ms = min(
                    request.wait_ms, state.ttl_ms // 3
                )  # so that its next request comes in good time
                older = self._lines.park(session, key, asker, self._now_ns + wait_ms * 1_000_000)
                if older is not None:
                    self._answer(older, reply)
                return
        self._answer(asker, reply)

    def _tell_of_grants(self) -> None:
        for session, key, token in self.locks.news:
            asker = self._lines.take(session, key)
            if asker is not None:
                self._answer(asker, {"type": "acquire_ok", "granted": True, "token": token})
        self.locks.news.clear()

    def _read(self, ready: ReadReady) -> None:
        pending = self._pending.take(ready.read)
        if pending is None or pending.asker is None or not isinstance(pending.request, Query):
            return
        kind, key, version = pending.request
        if kind == "read":
            body = self.registers.read(key)
        elif kind == "get":
            body = self.origin.get(key, version)
        else:
            body = self.locks.holder(key)
        self._answer(pending.asker, body)

    def _refuse(self, refused: Refused) -> None:
        pending = self._pending.take(refused.request)
        if pending is None or pending.asker is None:
            return
        code = codes.TEMPORARILY_UNAVAILABLE if refused.definite else codes.CRASH
        body = error(code, refused.reason)
        if refused.leader is not None:
            body["leader"] = refused.leader
        self._answer(pending.asker, body)

    # --- the rest -----------------------------------------------------------------------------------------------

    def describe(self) -> Body:
        """The answer to ``status``."""
        return {
            "type": "status_ok",
            "name": self.replica.name,
            "leader": self.replica.leader,
            "leading": self.replica.leading,
            "members": list(self.replica.members),
            "applied": self.applied,
            "sessions": len(self.sessions),
            "requests": len(self._pending) + len(self._lines),
            "replica": self.replica.describe(),
            **self._facts,
        }

    def _take_effects(self) -> Effects:
        self.deadline_ns = min(
            self.deadline_ns, self._pending.deadline_ns, self._lines.deadline_ns, self._expiry.deadline_ns
        )
        effects = self._effects
        if effects.send or effects.replies or effects.sync_up_to or effects.logs or effects.close:
            self._effects = Effects()
        return effects
