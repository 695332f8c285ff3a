"""A node that reads and writes through to the origin for its clients, and keeps copies under terms of the origin's.

The term of a copy counts from when the node *asked* for it, by the node's own clock: the origin grants it later, and
counts from then. So the copy has run out here before the origin takes that for granted.

A value that was fetched may be handed to whoever had asked before the fetch began: the origin read it in the
meantime. Others, who came while it was under way, may have it only if the node may keep it, and has not been told to
drop it: only then was it the current one when it arrived.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.cache.copy_node import Asker, CopyNode
from foreshock.targets.reference.node.cache.knobs import NEVER_NS
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
from foreshock.targets.reference.node.cache.requests import Get, Request, WriteRow
from foreshock.targets.reference.node.cache.store import Copy
from foreshock.targets.reference.node.codes import error
from foreshock.targets.reference.node.effects import Effects

_ALL = 1 << 62
"""The version below which a recall drops copies that names none."""


class Waiter(NamedTuple):
    """A client that waits for a value: since when, and that it must be as of so many changes at least."""

    asker: Asker
    since_ns: int
    need: int


class Fetching:
    """A fetch under way. ``floor``: only a version from there on may be kept. ``held``: the copy to be confirmed."""

    def __init__(self, key: Key, held: Copy | None, now_ns: int) -> None:
        self.key = key
        self.held = held
        self.sent_ns = now_ns
        self.said_ns = now_ns
        self.floor = 0
        self.waiters: list[Waiter] = []


class Passing:
    """A write under way to the origin; ``asker`` is ``None`` when nobody waits for it."""

    def __init__(self, store: Store, asker: Asker | None, now_ns: int) -> None:
        self.store = store
        self.asker = asker
        self.sent_ns = now_ns
        self.said_ns = now_ns
        self.floor = 0


class ReadThroughNode(CopyNode):
    """Serves ``get``, ``put`` and ``delete``, in the modes ``write-through`` and ``linearizable``."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._retry_ns = self._knobs.retry_ms * 1_000_000
        self._patience_ns = self._node_knobs.request_timeout_ms * 1_000_000
        self._fetches: dict[int, Fetching] = {}
        self._joinable: dict[Key, int] = {}
        """The fetch by key that later readers may still wait for."""
        self._passing: dict[int, Passing] = {}
        self._number = 0
        self._epoch = 0
        self._round_ns = NEVER_NS

    # --- clients ------------------------------------------------------------------------------------------------

    def serve(self, request: Request, asker: Asker, now_ns: int, effects: Effects) -> bool:
        """Answer from a copy, or ask the origin."""
        if isinstance(request, Get):
            self._get(request, asker, now_ns, effects)
        elif isinstance(request, WriteRow):
            self._write(request, asker, now_ns, effects)
        else:
            return False
        return True

    def _get(self, request: Get, asker: Asker, now_ns: int, effects: Effects) -> None:
        copy = self._store.get(request.key)
        if copy is not None and self._usable(copy, request.need, now_ns):
            self.hits += 1
            self._answer(asker, copy, effects, hit=True)
            return
        self.misses += 1
        self._await(request.key, [Waiter(asker, now_ns, request.need)], now_ns, effects)

    def _usable(self, copy: Copy, need: int, now_ns: int) -> bool:
        return copy.until_ns > now_ns and copy.as_of >= need

    def _await(self, key: Key, waiters: list[Waiter], now_ns: int, effects: Effects) -> None:
        """Let clients wait for the fetch of the key that is under way, or for a new one."""
        number = self._joinable.get(key) if self._knobs.stampede_protection else None
        if number is None:
            self._number += 1
            number = self._joinable[key] = self._number
            self._fetches[number] = Fetching(key, self._store.get(key), now_ns)
            self._say_fetch(number, effects)
            self._round_ns = min(self._round_ns, now_ns + self._retry_ns)
        self._fetches[number].waiters += waiters

    def _write(self, request: WriteRow, asker: Asker | None, now_ns: int, effects: Effects) -> None:
        self._store.remove(request.key)  # until the new value is there, readers ask the origin
        self._bar(request.key, _ALL)
        self._number += 1
        settled = min(self._passing, default=self._number)
        store = Store(self.boot, self._number, self._epoch, settled, request.key, request.value)
        self._passing[self._number] = Passing(store, asker, now_ns)
        effects.send.append((self._knobs.origin, store))
        self._round_ns = min(self._round_ns, now_ns + self._retry_ns)

    def on_close(self, connection: int, now_ns: int) -> Effects:
        """Who waited on that connection waits no longer."""
        for fetching in self._fetches.values():
            fetching.waiters = [w for w in fetching.waiters if w.asker.connection != connection]
        for passing in self._passing.values():
            if passing.asker is not None and passing.asker.connection == connection:
                passing.asker = None
        return self._finish(Effects(), now_ns)

    # --- the origin ---------------------------------------------------------------------------------------------

    def heed(self, message: Any, now_ns: int, effects: Effects) -> None:
        """An answer, or a recall."""
        if isinstance(message, Fetched):
            self._fetched(message, now_ns, effects)
        elif isinstance(message, Recall):
            self._drop(message)
            effects.send.append((self._knobs.origin, Recalled(message.number)))
        elif isinstance(message, Stored):
            self._stored(message, effects)
        elif isinstance(message, StoreRefused):
            self._refused(message, now_ns, effects)

    def _drop(self, recall: Recall) -> None:
        """Have no copy that is older than the recall says, nor make one from an answer to what was asked before."""
        floor = _ALL if recall.version is None else recall.version
        copy = self._store.get(recall.key)
        if copy is not None and copy.version < floor:
            self._store.remove(recall.key)
        self._bar(recall.key, floor)

    def _bar(self, key: Key, floor: int) -> None:
        self._joinable.pop(key, None)
        for under_way in self._fetches.values():
            if under_way.key == key:
                under_way.floor = max(under_way.floor, floor)
        for passing in self._passing.values():
            if passing.store.key == key:
                passing.floor = max(passing.floor, floor)

    def _fetched(self, message: Fetched, now_ns: int, effects: Effects) -> None:
        fetching = self._fetches.pop(message.number, None)
        if fetching is None:
            return
        key, held = fetching.key, fetching.held
        if self._joinable.get(key) == message.number:
            del self._joinable[key]
        value = held.value if message.unchanged and held is not None else message.value
        copy = Copy(message.version, message.as_of, value, fetching.sent_ns + message.term_ns)
        kept = message.term_ns > 0 and copy.version >= fetching.floor and copy.until_ns > now_ns
        if kept:
            self._keep(key, copy)
        late = []
        for waiter in fetching.waiters:
            if (kept or waiter.since_ns <= fetching.sent_ns) and copy.as_of >= waiter.need:
                self._answer(waiter.asker, copy, effects, hit=False)
            else:
                late.append(waiter)
        if late:
            self._await(key, late, now_ns, effects)

    def _stored(self, message: Stored, effects: Effects) -> None:
        passing = self._passing.pop(message.number, None)
        if passing is None:
            return
        store = passing.store
        if message.term_ns > 0 and message.version >= passing.floor:
            until_ns = passing.sent_ns + message.term_ns
            self._keep(store.key, Copy(message.version, message.version, store.value, until_ns))
        if passing.asker is not None:
            kind = passing.asker.message["body"]["type"]
            self.reply(passing.asker, {"type": f"{kind}_ok", "version": message.version}, effects)

    def _refused(self, message: StoreRefused, now_ns: int, effects: Effects) -> None:
        passing = self._passing.get(message.number)
        if passing is None or message.busy:
            return  # it is said again in a while
        earlier = passing.store.epoch
        self._epoch = max(self._epoch, message.epoch)
        if earlier == message.epoch:
            return
        del self._passing[message.number]
        if earlier:
            # An earlier life of the origin may have done it, and this one cannot know.
            self._fail(passing.asker, codes.CRASH, "the origin was started again meanwhile", effects)
            return
        # No origin has the epoch 0: that was only to ask for the right one.
        self._number += 1
        settled = min(self._passing, default=self._number)
        again = passing.store._replace(number=self._number, epoch=message.epoch, settled=settled)
        self._passing[self._number] = Passing(again, passing.asker, now_ns)
        self._passing[self._number].floor = passing.floor
        effects.send.append((self._knobs.origin, again))

    def _keep(self, key: Key, copy: Copy) -> None:
        present = self._store.get(key)
        if present is None or present.as_of <= copy.as_of:
            self._store.put(key, copy)

    # --- time ---------------------------------------------------------------------------------------------------

    def pass_time(self, now_ns: int, effects: Effects) -> None:
        """Say again what was not answered, and give up what has taken too long."""
        if now_ns < self._round_ns:
            return
        for number, fetching in list(self._fetches.items()):
            if fetching.sent_ns + self._patience_ns <= now_ns or not fetching.waiters:
                self._give_up_fetch(number, effects)
            elif fetching.said_ns + self._retry_ns <= now_ns:
                fetching.said_ns = now_ns
                self._say_fetch(number, effects)
        for number, passing in list(self._passing.items()):
            if passing.sent_ns + self._patience_ns <= now_ns:
                del self._passing[number]
                self._fail(passing.asker, codes.TIMEOUT, "the origin did not answer in time", effects)
            elif passing.said_ns + self._retry_ns <= now_ns:
                passing.said_ns = now_ns
                effects.send.append((self._knobs.origin, passing.store))
        busy = bool(self._fetches or self._passing)
        self._round_ns = now_ns + self._retry_ns if busy else NEVER_NS

    def _give_up_fetch(self, number: int, effects: Effects) -> None:
        fetching = self._fetches.pop(number)
        if self._joinable.get(fetching.key) == number:
            del self._joinable[fetching.key]
        for waiter in fetching.waiters:
            self._fail(waiter.asker, codes.TEMPORARILY_UNAVAILABLE, "the origin does not answer", effects)

    def _say_fetch(self, number: int, effects: Effects) -> None:
        fetching = self._fetches[number]
        version = None if fetching.held is None else fetching.held.version
        effects.send.append((self._knobs.origin, Fetch(number, fetching.key, version)))

    def waiting(self) -> int:
        """How many reads and writes are under way."""
        return sum(len(fetching.waiters) for fetching in self._fetches.values()) + len(self._passing)

    def next_ns(self) -> int:
        """When something is to be said again."""
        return self._round_ns

    # --- answers ------------------------------------------------------------------------------------------------

    def _answer(self, asker: Asker, copy: Copy, effects: Effects, *, hit: bool) -> None:
        body = {
            "type": "get_ok",
            "version": copy.version,
            "as_of": copy.as_of,
            "value": copy.value,
            "hit": hit,
        }
        self.reply(asker, body, effects)

    def _fail(self, asker: Asker | None, code: int, text: str, effects: Effects) -> None:
        if asker is not None:
            self.reply(asker, error(code, text), effects)
