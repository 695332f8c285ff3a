"""What the nodes of a cache say to each other. All of it may be lost, repeated and reordered."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

Key = int | str


class Fetch(NamedTuple):
    """A node asks the origin for a value; ``version`` is that of the copy it holds, ``None`` when it has none."""

    number: int
    key: Key
    version: int | None


class Fetched(NamedTuple):
    """The origin's answer: the value (or that it is ``unchanged``), and how long a copy may be used from the asking on.

    ``as_of`` counts the origin's changes: the value is what the key held after that many of them.
    """

    number: int
    version: int
    as_of: int
    value: Any
    unchanged: bool
    term_ns: int


class Store(NamedTuple):
    """A node passes a write on to the origin (``value`` is ``None``: a delete).

    ``boot`` and ``number`` name the write, so that it is done once however often it is said; ``epoch`` is the
    origin's, as far as the node knows: an origin that was started again remembers nothing of earlier writes, and
    refuses. All writes of this boot below ``settled`` are answered.
    """

    boot: int
    number: int
    epoch: int
    settled: int
    key: Key
    value: Any


class Stored(NamedTuple):
    """The write was done, under this version; a copy of the value may be used for ``term_ns``, from the asking on."""

    number: int
    version: int
    term_ns: int


class StoreRefused(NamedTuple):
    """This copy of the write was not done; ``epoch`` is the origin's. ``busy``: it may be tried again as it is."""

    number: int
    epoch: int
    busy: bool


class Recall(NamedTuple):
    """The origin wants every copy of the key that is older than ``version`` dropped (``None``: any copy)."""

    number: int
    key: Key
    version: int | None


class Recalled(NamedTuple):
    """The node has no such copy any more, and will keep none that it asked for before."""

    number: int


PeerMessage = Fetch | Fetched | Store | Stored | StoreRefused | Recall | Recalled

_KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind for kind in (Fetch, Fetched, Store, Stored, StoreRefused, Recall, Recalled)
}
_NUMBERS: Final = frozenset({"number", "as_of", "term_ns", "boot", "epoch", "settled"})
_FLAGS: Final = frozenset({"unchanged", "busy"})


def encode(message: PeerMessage) -> Any:
    """The message as a JSON value: its name, then its fields."""
    return [type(message).__name__, *message]


def decode(data: Any) -> PeerMessage:
    """The message again; raises ``ValueError`` with a sentence."""
    if not isinstance(data, list) or not data or data[0] not in _KINDS:
        raise ValueError("it is none that the nodes of a cache send")
    kind = _KINDS[data[0]]
    if len(data) != 1 + len(kind._fields):
        raise ValueError(f"a {data[0]} has {len(kind._fields)} fields")
    for field, value in zip(kind._fields, data[1:], strict=True):
        if not _fits(kind, field, value):
            raise ValueError(f"the field {field} of a {data[0]} cannot be {str(value)[:60]!r}")
    message: PeerMessage = kind(*data[1:])
    return message


def _fits(kind: type[Any], field: str, value: Any) -> bool:
    if field in _NUMBERS:
        return type(value) is int and value >= 0
    if field in _FLAGS:
        return type(value) is bool
    if field == "key":
        return type(value) in (int, str)
    if field == "version":
        return (value is None and kind in (Fetch, Recall)) or (type(value) is int and value >= 0)
    return True
