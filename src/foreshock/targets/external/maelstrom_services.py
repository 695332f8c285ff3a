"""The services of Maelstrom that nodes may use: each takes a request's body and gives the body of the answer.

They live in the harness, as Maelstrom's live in Maelstrom: nothing ever strikes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from foreshock.harness.cluster import Node
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, Runtime

Body = dict[str, Any]
Answer = Callable[[str, Body], Body]
"""What a service says to a node's request."""
_RETRY_NS: Final = 50_000_000
PAST_STATES_MAX: Final = 32
NOT_SUPPORTED: Final = 10
ABSENT: Final = 20
PRECONDITION_FAILED: Final = 22


class LinearizableStore:
    """``lin-kv``: one map, and one request after the other."""

    def __init__(self) -> None:
        self._values: Mapping[str, Any] = {}

    def answer(self, source: str, body: Body) -> Body:  # noqa: ARG002
        """The answer to a request."""
        reply, self._values = carried_out(self._values, body)
        return reply


class SequentialStore:
    """``seq-kv``: who changes something does so now; a reader may see the past, but never goes back in it."""

    def __init__(self, rng: RandomStream) -> None:
        self._rng = rng
        self._states: deque[Mapping[str, Any]] = deque([{}], maxlen=PAST_STATES_MAX)
        self._newest = 0
        self._seen: dict[str, int] = {}
        """How far each client has come."""

    def answer(self, source: str, body: Body) -> Body:
        """The answer to a request, by a state that the client may see."""
        oldest = self._newest - len(self._states) + 1
        number = self._rng.between(max(self._seen.get(source, 0), oldest), self._newest)
        state = self._states[number - oldest]
        reply, after = carried_out(state, body)
        if after is not state:
            reply, after = carried_out(self._states[-1], body)
            if after is not self._states[-1]:
                self._states.append(after)
                self._newest += 1
            number = self._newest
        self._seen[source] = number
        return reply


class TimestampOracle:
    """``lin-tso``: a number, greater each time."""

    def __init__(self) -> None:
        self._next = 0

    def answer(self, source: str, body: Body) -> Body:  # noqa: ARG002
        """The answer to a request."""
        if body.get("type") != "ts":
            return refused(body)
        self._next += 1
        return {"type": "ts_ok", "ts": self._next - 1}


def services(rng: RandomStream) -> dict[str, Answer]:
    """The answers of all services, by name; ``lww-kv`` is not among them."""
    return {
        "lin-kv": LinearizableStore().answer,
        "seq-kv": SequentialStore(rng).answer,
        "lin-tso": TimestampOracle().answer,
    }


async def serve(node: Node, runtime: Runtime, answers: Mapping[str, Answer]) -> None:
    """Answer what one node asks of services, for ever; its bridge knows them once they have said something."""
    while True:
        try:
            connection = await runtime.connect(node.endpoint)
            for name in answers:
                await connection.send({"src": name, "dest": "", "body": {}})
            while True:
                request = await connection.receive()
                service, source, body = request["dest"], request["src"], request["body"]
                reply = {**answers[service](source, body), "in_reply_to": body.get("msg_id")}
                await connection.send({"src": service, "dest": source, "body": reply})
        except (ConnectionRefused, ConnectionClosed):
            await runtime.sleep(_RETRY_NS)


def carried_out(values: Mapping[str, Any], body: Body) -> tuple[Body, Mapping[str, Any]]:
    """The answer to a request for a store, and what the store has then: the same object when nothing changed."""
    kind, key = body.get("type"), repr(body.get("key"))
    if kind == "write":
        return {"type": "write_ok"}, {**values, key: body.get("value")}
    if kind not in ("read", "cas"):
        return refused(body), values
    if key not in values and not (kind == "cas" and body.get("create_if_not_exists")):
        return {"type": "error", "code": ABSENT, "text": f"there is no key {key}"}, values
    if kind == "read":
        return {"type": "read_ok", "value": values[key]}, values
    if key in values and values[key] != body.get("from"):
        text = f"the value is {values[key]!r} and not {body.get('from')!r}"
        return {"type": "error", "code": PRECONDITION_FAILED, "text": text}, values
    return {"type": "cas_ok"}, {**values, key: body.get("to")}


def refused(body: Body) -> Body:
    """The answer to what a service does not know."""
    return {
        "type": "error",
        "code": NOT_SUPPORTED,
        "text": f"{body.get('type')!r} is no request for this service",
    }
