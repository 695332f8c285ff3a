"""Small random histories of every model: of a real object, of a real object with a lie in it, and of no object at all.

What an object does is written here once more, in another way than the models have it: as a thing that changes and
answers. So a test can hold a model to it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import random_positions

from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.base import FAILED, argument_of
from foreshock.harness.model import UNKNOWN, Illegal, Model

MILLISECOND_NS: Final = 1_000_000
_LEGAL, _MUTATED = 0.08, 0.6
_TRIES_MAX: Final = 400
_FOR_EVER: Final = 1 << 40


class Refused(Exception):
    """The operation cannot take effect now."""


class Thing:
    """An object that changes and answers: one for every model, with operations on it that make sense or not."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.distinct = rng.random() < 0.6
        self.count = 0

    def ask(self, process: int) -> tuple[str, Any]:
        """An operation for a process to ask for."""
        raise NotImplementedError

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        """Do it; answers the result, or raises ``Refused`` and changes nothing."""
        raise NotImplementedError

    def any_result(self, f: str, value: Any) -> Any:
        """Something that could come back, as far as its shape goes."""
        return None

    def could_be(self, f: str, result: Any, answer: Any) -> bool:
        """Whether it may have answered ``result`` (if that is known) when it answered ``answer``."""
        return result is UNKNOWN or (
            result == answer and isinstance(result, bool) == isinstance(answer, bool)
        )

    def fresh(self) -> int:
        """A value to be written: a new one, or one of two."""
        self.count += 1
        return self.count if self.distinct else self.rng.randint(1, 2)

    def seen(self) -> int:
        """A value that may have been written."""
        return self.rng.randint(1, max(2, self.count))


class Lock(Thing):
    """A lock with one holder."""

    needs_owner = True
    reentrant = False

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.holders: list[int] = []
        """Each process as often as it holds the lock."""

    def ask(self, process: int) -> tuple[str, Any]:
        wants_more = self.rng.random() < (0.4 if self.reentrant else 0.1)
        if process in self.holders and not wants_more:
            return "release", None
        return ("acquire", None) if self.rng.random() < 0.85 else ("release", None)

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "acquire":
            if self.holders and not (self.reentrant and self.holders[0] == process):
                raise Refused
            self.holders.append(process)
        elif not self.holders or (self.needs_owner and process not in self.holders):
            raise Refused
        else:
            self.holders.pop()
        return None


class OwnerlessLock(Lock):
    needs_owner = False


class ReentrantLock(Lock):
    reentrant = True


class TriedLock(Lock):
    def could_be(self, f: str, result: Any, answer: Any) -> bool:
        return answer is not FAILED if result is UNKNOWN else result == answer

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "acquire" and self.holders:
            return FAILED
        return super().apply(process, f, value, now_ms)

    def any_result(self, f: str, value: Any) -> Any:
        return FAILED if f == "acquire" and self.rng.random() < 0.5 else None


class Tokens(Lock):
    """A lock with growing tokens, which any process can release that knows the token."""

    needs_owner = False

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.token = self.last = 0

    def ask(self, process: int) -> tuple[str, Any]:
        f, _ = super().ask(process)
        named = self.rng.random() < 0.7
        return f, (
            self.rng.choice([self.token, self.token, self.seen()]) if f == "release" and named else None
        )

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "release" and value not in (None, self.token):
            raise Refused
        super().apply(process, f, value, now_ms)
        if f == "release":
            return None
        self.last = self.token
        self.token += self.rng.choice([1, 1, 2])
        return {"token": self.token}

    def any_result(self, f: str, value: Any) -> Any:
        return {"token": self.rng.randint(1, 4)} if f == "acquire" else None

    def could_be(self, f: str, result: Any, answer: Any) -> bool:
        if result is UNKNOWN or f == "release":
            return True
        # Any token will do that is greater than the last.
        return bool(result["token"] > self.last)


class ManyReaders(Thing):
    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.readers: list[int] = []
        self.writer: int | None = None

    def ask(self, process: int) -> tuple[str, Any]:
        holds = process in self.readers or process == self.writer
        if self.rng.random() < (0.85 if holds else 0.1):
            return "release", None
        mode = self.rng.choice(["read", "read", "write"])
        return "acquire", mode if self.rng.random() < 0.5 else {"mode": mode, "wait_ms": 0}

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "release":
            if process == self.writer:
                self.writer = None
            elif process in self.readers:
                self.readers.remove(process)
            else:
                raise Refused
            return None
        mode = value if isinstance(value, str) else value["mode"]
        if self.writer is not None or process in self.readers or (mode == "write" and self.readers):
            raise Refused
        if mode == "write":
            self.writer = process
        else:
            self.readers.append(process)
        return None


class Permits(Thing):
    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.permits = rng.choice([1, 2, 2, 3])
        self.told = self.permits > 1 or rng.random() < 0.5
        self.taken = 0

    def ask(self, process: int) -> tuple[str, Any]:
        if self.rng.random() < 0.35:
            return "release", None
        return "acquire", {"permits": self.permits, "mode": "permit"} if self.told else None

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if self.taken == (self.permits if f == "acquire" else 0):
            raise Refused
        self.taken += 1 if f == "acquire" else -1
        return None


class Leased(Thing):
    """A lease on the clock of the history; what it grants lasts exactly as long as it says."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.owner: int | None = None
        self.ends_ms = 0

    def ask(self, process: int) -> tuple[str, Any]:
        if process == self.owner:
            return self.rng.choice(["release", "renew", "renew", "acquire"]), None
        return self.rng.choice(["acquire", "acquire", "acquire", "release", "renew"]), None

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "acquire":
            if self.owner not in (None, process) and now_ms < self.ends_ms:
                raise Refused
            self.owner = process
        elif self.owner != process:
            raise Refused
        if f == "release":
            self.owner, self.ends_ms = None, 0
            return None
        ttl_ms = self._ttl_ms()
        if f == "renew" or now_ms < self.ends_ms:
            # Whoever has it is not cut short by another grant.
            ttl_ms = (
                None if self.ends_ms == _FOR_EVER or ttl_ms is None else max(ttl_ms, self.ends_ms - now_ms)
            )
        self.ends_ms = _FOR_EVER if ttl_ms is None else now_ms + ttl_ms
        return {"token": None, "ttl_ms": ttl_ms}

    def any_result(self, f: str, value: Any) -> Any:
        return None if f == "release" else {"token": None, "ttl_ms": self._ttl_ms()}

    def _ttl_ms(self) -> int | None:
        return self.rng.choice([0, 1, 2, 3, 3, 5, 8, None])


class Line(Thing):
    """A queue or a stack, by which end gives."""

    put, take, end = "enqueue", "dequeue", 0

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.elements: list[Any] = []

    def ask(self, process: int) -> tuple[str, Any]:
        return (self.put, self.fresh()) if self.rng.random() < 0.55 else (self.take, None)

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == self.put:
            self.elements.append(value)
            return None
        return self.elements.pop(self.end) if self.elements else None

    def any_result(self, f: str, value: Any) -> Any:
        return None if f == self.put or self.rng.random() < 0.2 else self.seen()


class Pile(Line):
    put, take, end = "push", "pop", -1


class Elements(Thing):
    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.elements: list[Any] = []

    def ask(self, process: int) -> tuple[str, Any]:
        f = self.rng.choice(["add", "add", "remove", "contains", "read"])
        if f == "read":
            return f, None
        return f, self.fresh() if f == "add" else self.seen()

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "read":
            return self.rng.sample(self.elements, len(self.elements))
        there = value in self.elements
        if f == "contains":
            return there
        if f == "add" and not there:
            self.elements.append(value)
        elif f == "remove" and there:
            self.elements.remove(value)
        return None

    def any_result(self, f: str, value: Any) -> Any:
        if f == "contains":
            return self.rng.random() < 0.5
        if f != "read":
            return None
        count = self.rng.choice([0, 1, 1, 2, 2, 3])
        return [self.seen() for _ in range(count)]

    def could_be(self, f: str, result: Any, answer: Any) -> bool:
        if f == "read" and result is not UNKNOWN:
            return sorted(result) == sorted(answer)
        return super().could_be(f, result, answer)


class Sum(Thing):
    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.sum = 0

    def ask(self, process: int) -> tuple[str, Any]:
        f = self.rng.choice(["read", "read", "add", "increment", "decrement"])
        if f == "add":
            return f, self.rng.choice([-2, -1, 0, 1, 2, 3])
        return f, self.rng.choice([None, None, 2]) if f != "read" else None

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "read":
            return self.sum
        amount = 1 if value is None else value
        self.sum = self.sum - amount if f == "decrement" else self.sum + amount
        return None

    def any_result(self, f: str, value: Any) -> Any:
        return self.rng.randint(-1, 3) if f == "read" else None


class OneValue(Thing):
    """A register; ``names`` says which operations it has."""

    names: Sequence[str] = ("read", "write", "write", "delete")

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.value: Any = None

    def ask(self, process: int) -> tuple[str, Any]:
        f = self.rng.choice(["read", "get", *self.names])
        if f in ("read", "get", "delete"):
            return f, None
        if f == "cas":
            return f, [self.value if self.rng.random() < 0.7 else self.seen(), self.fresh()]
        return f, self.fresh()

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f in ("read", "get"):
            return self.value
        if f == "cas":
            if self.value != value[0]:
                raise Refused
            value = value[1]
        self.value = value
        return None

    def any_result(self, f: str, value: Any) -> Any:
        return self.rng.choice([None, self.seen(), self.seen()]) if f in ("read", "get") else None


class CasValue(OneValue):
    names = ("read", "write", "cas", "cas", "delete")


class Text(OneValue):
    """One key of a key-value store."""

    names = ("put", "append", "append", "append", "cas", "delete")

    def ask(self, process: int) -> tuple[str, Any]:
        f, value = super().ask(process)
        if f == "cas":
            return f, [str(old) if isinstance(old := value[0], int) else old, str(value[1])]
        if f in ("append", "put") and self.rng.random() < 0.1:
            return f, ""
        return f, value if value is None else str(value)

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "append":
            self.value = (self.value or "") + value
            return None
        return super().apply(process, f, value, now_ms)

    def any_result(self, f: str, value: Any) -> Any:
        if f not in ("read", "get") or self.rng.random() < 0.2:
            return None
        return "".join(str(self.seen()) for _ in range(self.rng.randint(1, 3)))


class Registers(Thing):
    """Three registers that are read and written at once."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.values: dict[str, Any] = {}

    def ask(self, process: int) -> tuple[str, Any]:
        f = self.rng.choice(["txn", "txn", "txn", "read", "write"])
        names = [self.rng.choice(["x", "y", "z"]) for _ in range(self.rng.randint(1, 3))]
        if f == "read":
            return f, dict.fromkeys(names)
        if f == "write":
            return f, {name: self.fresh() for name in names}
        reads = self.rng.choice([0.0, 0.5, 0.5, 1.0])
        return f, [
            [self.rng.choice(["r", "read"]), name, None]
            if self.rng.random() < reads
            else [self.rng.choice(["w", "write"]), name, self.fresh() if self.rng.random() < 0.9 else None]
            for name in names
        ]

    def apply(self, process: int, f: str, value: Any, now_ms: int) -> Any:
        if f == "read":
            return {name: self.values.get(name) for name in value}
        if f == "write":
            self.values.update(value)
            return None
        done = []
        for kind, name, content in value:
            if kind[0] == "w":
                self.values[name] = content
            done.append([kind, name, self.values.get(name)])
        return done

    def any_result(self, f: str, value: Any) -> Any:
        if f == "read":
            return {name: self._any() for name in value}
        if f == "write":
            return None
        return [[kind, name, self._any() if kind[0] == "r" else content] for kind, name, content in value]

    def could_be(self, f: str, result: Any, answer: Any) -> bool:
        if f == "write" or result is UNKNOWN:
            return True
        if f == "read":
            return all(seen in (None, answer[name]) for name, seen in result.items())
        return all(seen in (None, was) for (_, _, seen), (_, _, was) in zip(result, answer, strict=True))

    def _any(self) -> Any:
        return self.rng.choice([None, self.seen(), self.seen()])


THINGS: Final[dict[str, Callable[[random.Random], Thing]]] = {
    "register": OneValue,
    "cas-register": CasValue,
    "kv": Text,
    "multi-register": Registers,
    "mutex": OwnerlessLock,
    "owner-mutex": Lock,
    "reentrant-mutex": ReentrantLock,
    "fenced-mutex": Tokens,
    "read-write-lock": ManyReaders,
    "semaphore": Permits,
    "try-mutex": TriedLock,
    "lease": Leased,
    "fifo-queue": Line,
    "stack": Pile,
    "set": Elements,
    "counter": Sum,
}
"""For each model an object that does what it says."""


def random_history(
    rng: random.Random, model_name: str, *, operations: int = 7, crash: float = 0.2, ties: bool = True
) -> list[Entry]:
    """A history of at most that many operations on one key; a third to a half of them are legal.

    One in twelve is of a real object, half are of one but changed in a place or two, the rest are made up. With
    ``ties``, events may share positions. Entries have the times of a clock that never runs backwards.
    """
    thing = THINGS[model_name](rng)
    kind = rng.random()
    if kind >= _MUTATED:
        entries = _made_up(rng, thing, operations, crash, ties)
    else:
        entries = _Run(rng, thing, operations, crash).entries()
        if ties and rng.random() < 0.5:
            entries = _coarser(entries, rng.choice([2, 2, 3]))
        if kind >= _LEGAL:
            for _ in range(rng.choice([1, 2, 3, 4])):
                _mutate(rng, thing, entries)
    return entries


@dataclass
class _Thread:
    process: int
    entry: Entry | None = None
    done: bool = False
    result: Any = None


@dataclass
class _Run:
    """Clients of a real object, each with one operation under way at most, which takes effect at some moment."""

    rng: random.Random
    thing: Thing
    operations: int
    crash: float
    position: int = 0
    now_ms: int = 0
    called: int = 0
    ended: list[Entry] = field(default_factory=list)

    def entries(self) -> list[Entry]:
        rng = self.rng
        count = rng.randint(1, 4)
        threads = [_Thread(process) for process in range(count)]
        patient = rng.random()
        for _ in range(_TRIES_MAX):
            under_way = any(thread.entry for thread in threads)
            if self.called >= self.operations and not under_way:
                break
            self.position += 1
            self.now_ms += rng.choice([0, 1, 1, 2])
            thread = rng.choice(threads)
            if thread.entry is None:
                if self.called < self.operations:
                    self._call(thread)
            elif not thread.done:
                self._try(thread)
                if not thread.done and rng.random() < 0.15 + 0.3 * patient:
                    self._end(thread, crashed=rng.random() < 2 * self.crash, threads=count)
            else:
                self._end(thread, crashed=rng.random() < self.crash, threads=count)
        for thread in threads:
            if thread.entry is not None:
                self._end(thread, crashed=not thread.done, threads=count)
        return self.ended

    def _call(self, thread: _Thread) -> None:
        f, value = self.thing.ask(thread.process)
        times = (self.now_ms * MILLISECOND_NS, NEVER)
        thread.entry = Entry(self.called, self.position, NEVER, f, value, None, False, thread.process, times)
        thread.done = False
        self.called += 1

    def _try(self, thread: _Thread) -> None:
        entry = thread.entry
        assert entry is not None
        try:
            thread.result = self.thing.apply(entry.process, entry.f, entry.value, self.now_ms)
        except Refused:
            return
        thread.done = True

    def _end(self, thread: _Thread, *, crashed: bool, threads: int) -> None:
        """Return, crash, or (where it did not take effect) come to nothing and leave no entry."""
        entry = thread.entry
        assert entry is not None
        thread.entry = None
        if crashed:
            self.ended.append(entry._replace(result=UNKNOWN, crashed=True))
            thread.process += threads * (self.rng.random() < 0.7)
        elif thread.done:
            times = (entry.times[0], self.now_ms * MILLISECOND_NS)
            self.ended.append(entry._replace(ret=self.position, result=thread.result, times=times))


def _coarser(entries: Sequence[Entry], by: int) -> list[Entry]:
    """The same with fewer positions: what was in order may become concurrent, nothing else changes."""
    return [e._replace(call=e.call // by, ret=NEVER if e.crashed else e.ret // by) for e in entries]


def _mutate(rng: random.Random, thing: Thing, entries: list[Entry]) -> None:
    """Put one lie into a history: about what came back, when, by whom, or whether it happened at all."""
    if not entries:
        return
    telling = [
        i for i, e in enumerate(entries) if not e.crashed and thing.any_result(e.f, e.value) is not None
    ]
    if telling and rng.random() < 0.6:
        place = rng.choice(telling)
        entry = entries[place]
        entries[place] = entry._replace(result=thing.any_result(entry.f, entry.value))
        return
    place = rng.randrange(len(entries))
    entry = entries[place]
    end = rng.choice(entries)
    position, moment = (end.call, end.times[0]) if end.crashed else (end.ret, end.times[1])
    moved = entry._replace(call=position, ret=position, crashed=False, times=(moment, moment))
    if entry.crashed:
        moved = moved._replace(result=thing.any_result(entry.f, entry.value))
    what = rng.randrange(8)
    if what <= 1:
        del entries[place]
    elif what <= 3:
        entries[place] = moved
    elif what == 4:
        entries.append(moved._replace(number=max(e.number for e in entries) + 1))
    elif what == 5:
        entries[place] = entry._replace(process=rng.choice(entries).process)
    elif what == 6:
        _swap(entries, place, rng.randrange(len(entries)))
    else:
        times = (entry.times[0], NEVER)
        entries[place] = entry._replace(ret=NEVER, result=UNKNOWN, crashed=True, times=times)


def _swap(entries: list[Entry], one: int, other: int) -> None:
    """Let two operations change places in time."""
    a, b = entries[one], entries[other]
    if a.crashed == b.crashed:
        entries[one] = a._replace(call=b.call, ret=b.ret, times=b.times)
        entries[other] = b._replace(call=a.call, ret=a.ret, times=a.times)


def _made_up(rng: random.Random, thing: Thing, operations: int, crash: float, ties: bool) -> list[Entry]:
    """Operations at random places with random results."""
    count = rng.randint(2, max(2, operations))
    processes = rng.randint(1, 4)
    scale = rng.choice([0, 1, 1, 2])
    honest = 0.7 * rng.random()
    entries = []
    for number, (call, ret) in enumerate(sorted(_places(rng, count, ties))):
        process = rng.randrange(processes)
        f, value = thing.ask(process)
        crashed = rng.random() < crash
        result = UNKNOWN if crashed else thing.any_result(f, value)
        if rng.random() < honest:
            # As if it happened just now, which makes it more likely to be right.
            try:
                happened = thing.apply(process, f, value, call * scale)
            except Refused:
                happened = result
            result = UNKNOWN if crashed else happened
        times = (call * scale * MILLISECOND_NS, NEVER if crashed else ret * scale * MILLISECOND_NS)
        ret = NEVER if crashed else ret
        entries.append(Entry(number, call, ret, f, value, result, crashed, process, times))
    rng.shuffle(entries)
    return entries


def _places(rng: random.Random, count: int, ties: bool) -> list[tuple[int, int]]:
    if not ties or rng.random() < 0.3:
        return random_positions(rng, count, ties=ties)
    width, length = rng.choice([count, 2 * count]), rng.choice([0, 1, 2, 4])
    calls = [rng.randint(0, width) for _ in range(count)]
    return [(call, call + rng.randint(0, length)) for call in calls]


class _Asked:
    """A model whose operations come with what it wants to know of them for a value."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.name = model.name

    def initial(self) -> Hashable:
        return self._model.initial()

    def is_read(self, f: str) -> bool:
        return self._model.is_read(f)

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        return self._model.step(state, f, value, result)

    def describe(self, f: str, value: Any, result: Any) -> str:
        return self._model.describe(f, value, result)


def is_legal(entries: Sequence[Entry], model: Model) -> bool:
    """What the oracle says, for models that want to know who asked and when, too."""
    return is_linearizable([e._replace(value=argument_of(model, e)) for e in entries], _Asked(model))
