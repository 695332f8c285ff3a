"""The origin of a distributed cache, sans I/O: the one node that has the database, and how it makes a write known.

:class:`Origin` answers clients that look aside: it commits a write and says so, and what copies there are is no
business of its own. :class:`WriteThroughOrigin` keeps account of copies and takes them back after a write;
:class:`LeasingOrigin` does so before, and that is what makes reads of copies linearizable.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.cache.database import (
    Begin,
    Begun,
    Done,
    Job,
    OriginDatabase,
    Read,
    Row,
    Write,
)
from foreshock.targets.reference.node.cache.grants import Grants, Outstanding, Recalls
from foreshock.targets.reference.node.cache.knobs import NEVER_NS, CacheKnobs
from foreshock.targets.reference.node.cache.messages import (
    Fetch,
    Fetched,
    Key,
    Recall,
    Recalled,
    Store,
    Stored,
    StoreRefused,
)
from foreshock.targets.reference.node.cache.requests import ReadRow, Status, WriteRow, parse_request
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.requests import BadRequest
from foreshock.targets.reference.node.wire import Message, malformed, reply_to

_BEGIN_AGAIN_NS: Final = 500_000_000
_BOOTS_REMEMBERED: Final = 64
_WRITES_REMEMBERED_MAX: Final = 1_000


class Client(NamedTuple):
    """Who waits for the end of a write: a client on a connection."""

    connection: int
    message: Message


class Passing(NamedTuple):
    """Who waits for the end of a write: a node that passed it on."""

    node: str
    boot: int
    number: int


Writer = Client | Passing
Handler = Callable[[Done, int, Effects], None]


class PassedOn:
    """The writes that one life of a node has passed on: what became of each, so that none is done twice."""

    def __init__(self, boot: int) -> None:
        self.boot = boot
        self.answers: dict[int, Stored | None] = {}
        self.settled = 0

    def settle(self, below: int) -> None:
        """The node has heard the answers to all writes below this number."""
        if below > self.settled:
            self.settled = below
            self.answers = {number: answer for number, answer in self.answers.items() if number >= below}


class Origin:
    """The origin that clients read and write directly."""

    def __init__(
        self,
        name: str,
        database: OriginDatabase,
        knobs: CacheKnobs,
        *,
        requests_max: int,
        grants: Grants,
        recalls: Recalls,
    ) -> None:
        self.deadline_ns = NEVER_NS
        self.epoch = 0
        """How often the origin has been started; 0 until the database has said so, and nothing is served before."""
        self.reads = self.writes = 0
        """How many rows were read and written since the start."""
        self._name = name
        self._database = database
        self._knobs = knobs
        self._requests_max = requests_max
        self._grants = grants
        self._recalls = recalls
        self._jobs: dict[int, Handler] = {}
        self._job_number = 0
        self._sync = 1
        self._sync_wanted = False
        self._begin_ns = NEVER_NS
        self._recall_number = 0
        self._passed_on: dict[str, PassedOn] = {}
        self._earlier_boots: dict[str, OrderedDict[int, None]] = {}

    # --- NodeProgram --------------------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> Effects:
        """Tell the database that the origin begins; nobody is served before it has answered."""
        effects = Effects()
        self._begin()
        return self._finish(effects, now_ns, synced=0)

    def on_tick(self, now_ns: int) -> Effects:
        """Try again what is due."""
        effects = Effects()
        if now_ns >= self._begin_ns:
            self._begin()
        self._pass_time(now_ns, effects)
        return self._finish(effects, now_ns, synced=0)

    def on_synced(self, up_to: int, now_ns: int) -> Effects:
        """The database has done, durably, what it was given."""
        return self._finish(Effects(), now_ns, synced=up_to)

    def on_peer(self, source: str, message: Any, now_ns: int) -> Effects:
        """A node fetches, passes on a write, or acknowledges a recall."""
        effects = Effects()
        if self.epoch:
            if isinstance(message, Fetch):
                self._fetch(source, message)
            elif isinstance(message, Store):
                self._store(source, message, now_ns, effects)
            elif isinstance(message, Recalled) and self._recalls.acknowledge(message.number, source):
                self._recalled(message.number, now_ns, effects)
        return self._finish(effects, now_ns, synced=0)

    def on_request(self, connection: int, message: Any, now_ns: int) -> Effects:
        """A client reads or writes."""
        effects = Effects()
        body = message.get("body") if isinstance(message, dict) else None
        if not isinstance(body, dict):
            effects.replies.append(
                (connection, malformed(self._name, "a message needs a body that is an object"))
            )
            return effects
        try:
            request = parse_request(body)
        except BadRequest as problem:
            effects.replies.append(
                (connection, reply_to(message, self._name, error(problem.code, str(problem))))
            )
            return effects
        client = Client(connection, message)
        if isinstance(request, Status):
            self._reply(client, self._status(), effects)
        elif not isinstance(request, ReadRow | WriteRow):
            text = "this node is the origin: it has rows, and no copies of them"
            self._reply(client, error(codes.NOT_SUPPORTED, text), effects)
        elif not self.epoch or len(self._jobs) + self._waiting() >= self._requests_max:
            why = "is starting" if not self.epoch else "has too much to do"
            self._reply(client, error(codes.TEMPORARILY_UNAVAILABLE, f"the origin {why}"), effects)
        elif isinstance(request, ReadRow):
            self._submit(Read(request.key), partial(self._answer_read, client, request))
        else:
            self._write(request.key, request.value, client, now_ns, effects)
        return self._finish(effects, now_ns, synced=0)

    def on_close(self, connection: int, now_ns: int) -> Effects:  # noqa: ARG002
        """What the client had asked for goes on; its answer will be dropped."""
        return Effects()

    # --- how a write is made known ------------------------------------------------------------------------------

    def _lease_ms_max(self) -> int:
        """The longest lease that this origin will grant and that a later one must wait for; 0: none."""
        return 0

    def _began(self, begun: Begun, now_ns: int) -> None:
        """The database has been opened; ``begun`` says what it remembers of the lives before."""

    def _waiting(self) -> int:
        """How many requests wait here for anything but the database."""
        return 0

    def _write(self, key: Key, value: Any, writer: Writer, now_ns: int, effects: Effects) -> None:  # noqa: ARG002
        self._submit(Write(key, value), partial(self._committed, key, writer))

    def _committed(self, key: Key, writer: Writer, done: Done, now_ns: int, effects: Effects) -> None:  # noqa: ARG002
        self._answer_write(writer, done, effects)

    def _may_grant(self, key: Key) -> bool:  # noqa: ARG002
        """Whether nodes may be given copies of the key to keep."""
        return False

    def _recalled(self, number: int, now_ns: int, effects: Effects) -> None:
        """Nobody is waited for any more by the recall of this number."""

    def _recall(self, recall: Outstanding, now_ns: int, effects: Effects) -> int:
        """Ask the nodes for their copies, until they have answered; returns the recall's number."""
        self._recall_number += 1
        self._recalls.begin(self._recall_number, recall, now_ns)
        message = Recall(self._recall_number, recall.key, recall.version)
        effects.send += [(node, message) for node in recall.waiting]
        return self._recall_number

    def _pass_time(self, now_ns: int, effects: Effects) -> None:
        settled, again = self._recalls.due(now_ns)
        for number, node, recall in again:
            effects.send.append((node, Recall(number, recall.key, recall.version)))
        for number in settled:
            self._recalled(number, now_ns, effects)

    # --- reads --------------------------------------------------------------------------------------------------

    def _answer_read(
        self,
        client: Client,
        request: ReadRow,
        done: Done,
        now_ns: int,
        effects: Effects,
    ) -> None:
        row = done.result
        if not isinstance(row, Row):
            self._reply(client, error(codes.TEMPORARILY_UNAVAILABLE, done.problem), effects)
            return
        self.reads += 1
        unchanged = request.version == row.version
        body: Body = {"type": "read_ok", "version": row.version, "as_of": row.as_of}
        body |= {"unchanged": True} if unchanged else {"value": row.value}
        if request.lease_for is not None:
            body["term_ms"] = self._grant(request.key, row.value, request.lease_for, now_ns) // 1_000_000
        self._reply(client, body, effects)

    def _fetch(self, node: str, fetch: Fetch) -> None:
        if len(self._jobs) < self._requests_max:
            self._submit(Read(fetch.key), partial(self._answer_fetch, node, fetch))

    def _answer_fetch(self, node: str, fetch: Fetch, done: Done, now_ns: int, effects: Effects) -> None:
        row = done.result
        if not isinstance(row, Row):
            return  # the node will ask again
        self.reads += 1
        term_ns = self._grant(fetch.key, row.value, node, now_ns)
        unchanged = fetch.version == row.version
        value = None if unchanged else row.value
        effects.send.append((node, Fetched(fetch.number, row.version, row.as_of, value, unchanged, term_ns)))

    def _grant(self, key: Key, value: Any, node: str, now_ns: int) -> int:
        """For how long the node may keep the value (ns); 0: not at all."""
        term_ns = self._knobs.term_ns(value)
        granted = term_ns > 0 and self._may_grant(key) and self._grants.grant(key, node, term_ns, now_ns)
        return term_ns if granted else 0

    # --- writes -------------------------------------------------------------------------------------------------

    def _store(self, node: str, store: Store, now_ns: int, effects: Effects) -> None:
        """A write that a node passed on: done once, however often it is said."""
        known = self._known_writes(node, store)
        if known is None:
            return
        if store.epoch != self.epoch:
            effects.send.append((node, StoreRefused(store.number, self.epoch, busy=False)))
        elif store.number in known.answers:
            answer = known.answers[store.number]
            if answer is not None:
                effects.send.append((node, answer))
        elif len(known.answers) >= _WRITES_REMEMBERED_MAX or len(self._jobs) >= self._requests_max:
            effects.send.append((node, StoreRefused(store.number, self.epoch, busy=True)))
        else:
            known.answers[store.number] = None
            self._write(store.key, store.value, Passing(node, store.boot, store.number), now_ns, effects)

    def _known_writes(self, node: str, store: Store) -> PassedOn | None:
        """The writes of the node's life that this one belongs to; ``None`` when it is over and done with."""
        known = self._passed_on.get(node)
        if known is None or known.boot != store.boot:
            earlier = self._earlier_boots.setdefault(node, OrderedDict())
            if store.boot in earlier:
                return None
            if known is not None:
                earlier[known.boot] = None
                if len(earlier) > _BOOTS_REMEMBERED:
                    earlier.popitem(last=False)
            known = self._passed_on[node] = PassedOn(store.boot)
        known.settle(store.settled)
        return known if store.number >= known.settled else None

    def _answer_write(self, writer: Writer, done: Done, effects: Effects, *, term_ns: int = 0) -> None:
        """Tell the writer; a node that passed the write on may keep the value for ``term_ns``."""
        row = done.result
        if isinstance(row, Row):
            self.writes += 1
        if isinstance(writer, Passing):
            self._answer_node(writer, done, effects, term_ns)
        elif isinstance(row, Row):
            kind = writer.message["body"]["type"]
            self._reply(writer, {"type": f"{kind}_ok", "version": row.version}, effects)
        else:
            code = codes.TEMPORARILY_UNAVAILABLE if done.certain else codes.CRASH
            self._reply(writer, error(code, done.problem), effects)

    def _answer_node(self, writer: Passing, done: Done, effects: Effects, term_ns: int) -> None:
        known = self._passed_on[writer.node]
        ours = known.boot == writer.boot and writer.number in known.answers
        if isinstance(done.result, Row):
            answer = Stored(writer.number, done.result.version, term_ns)
            if ours:
                known.answers[writer.number] = answer
                effects.send.append((writer.node, answer))
        elif done.certain and ours:
            del known.answers[writer.number]
            effects.send.append((writer.node, StoreRefused(writer.number, self.epoch, busy=True)))
        # Else nobody knows, and the node's own deadline says so: to do it again could do it twice.

    # --- the rest -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._begin_ns = NEVER_NS
        self._submit(Begin(self._lease_ms_max()), self._on_begun)

    def _on_begun(self, done: Done, now_ns: int, effects: Effects) -> None:
        if not isinstance(done.result, Begun):
            effects.logs.append(f"{self._name} has no database yet, and tries again: {done.problem}")
            self._begin_ns = now_ns + _BEGIN_AGAIN_NS
            return
        self.epoch = done.result.epoch
        # No answer to a recall of an earlier life is taken for one to a recall of this one.
        self._recall_number = self.epoch << 32
        self._began(done.result, now_ns)
        effects.logs.append(
            f"{self._name} is the origin, in mode {self._knobs.mode}; this is start {self.epoch}"
        )

    def _submit(self, job: Job, handler: Handler) -> None:
        self._job_number += 1
        self._jobs[self._job_number] = handler
        if self._database.submit(self._job_number, job, self._sync):
            self._sync_wanted = True

    def _finish(self, effects: Effects, now_ns: int, *, synced: int) -> Effects:
        """Hand out what the database has done, and ask for what it needs."""
        while results := self._database.take(synced):
            for done in results:
                self._jobs.pop(done.number)(done, now_ns, effects)
        if self._sync_wanted:
            self._sync_wanted = False
            effects.sync_up_to = self._sync
            self._sync += 1
        self.deadline_ns = min(self._begin_ns, self._recalls.deadline_ns, self._next_ns())
        return effects

    def _next_ns(self) -> int:
        """When time has to pass for something else than the recalls."""
        return NEVER_NS

    def _reply(self, client: Client, body: Body, effects: Effects) -> None:
        effects.replies.append((client.connection, reply_to(client.message, self._name, body)))

    def _status(self) -> Body:
        return {
            "type": "status_ok",
            "name": self._name,
            "leading": True,
            "role": "origin",
            "mode": self._knobs.mode,
            "serving": bool(self.epoch),
            "epoch": self.epoch,
            "reads": self.reads,
            "writes": self.writes,
            "grants": len(self._grants),
            "recalls": len(self._recalls),
        }
