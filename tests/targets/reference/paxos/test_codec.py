"""Messages come through JSON as they were; anything else is refused with a sentence."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from foreshock.targets.reference.node.paxos.codec import decode, encode, read_acceptance
from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Acceptance,
    Accepted,
    Canvass,
    CanvassReply,
    Chosen,
    Learn,
    Message,
    Nack,
    Prepare,
    Promise,
    SnapshotPiece,
    TakeOver,
    Value,
)
from foreshock.targets.reference.node.paxos.synod import NO_BALLOT, Ballot

B1, B2 = Ballot(1, "n1"), Ballot(2, "n2")
MESSAGES: list[Message] = [
    Canvass(NO_BALLOT, 0),
    CanvassReply(B1, NO_BALLOT, True, 7),
    Prepare(B1, 1, False),
    Promise(B2, 3, 9, 2, 4, (Acceptance(4, B1, "command", {"a": [1]}), Acceptance(7, B2, "noop", None))),
    Promise(B2, 3, 0, 5, 5, ()),
    Accept(B1, 5, (Value("command", "x"), Value("configuration", ["n1", "n2"])), 4, 3),
    Accept(B1, 1, (), 0, 0),
    Accepted(B1, 2, 1, 0, 0),
    Nack(B2, B1),
    Learn(1, 0, 0),
    Chosen(3, (Acceptance(3, B1, "noop", None), Acceptance(4, B2, "command", 1)), 9),
    SnapshotPiece(5, 1, ("n1",), 0, 0, {"any": "thing"}),
    SnapshotPiece(5, 1, ("n1", "n2"), 3, 10, "piece"),
    TakeOver(B1),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_through_json_as_it_was(message: Message) -> None:
    assert decode(json.loads(json.dumps(encode(message)))) == message


BALLOT = [1, "n1"]
NONSENSE: list[tuple[Any, str]] = [
    (None, "a list that begins with its tag"),
    ([], "a list that begins with its tag"),
    ([7], "a list that begins with its tag"),
    (["vote", 1], "no message of Paxos has the tag 'vote'"),
    (["learn", 1], "has 3 fields, not 1"),
    (["learn", 0, 0, 0], "counts from 1"),
    (["learn", -1, 0, 0], "is no integer from 0"),
    (["learn", True, 0, 0], "is no integer from 0"),
    (["learn", 2**53, 0, 0], "is no integer from 0"),
    (["prepare", BALLOT, 1, 1], "is neither true nor false"),
    (["prepare", [0, "n1"], 1, True], "no ballot has the round 0"),
    (["prepare", [1, 2], 1, True], "2 is no node's name"),
    (["prepare", [1, "n" * 256], 1, True], "is no node's name"),
    (["prepare", [1], 1, True], "is no ballot: round, node"),
    (["prepare", "1.n1", 1, True], "is no ballot: round, node"),
    (["accept", BALLOT, 1, 5, 0, 0], "is no list of values"),
    (["accept", BALLOT, 1, [5], 0, 0], "is no value: kind, data"),
    (["accept", BALLOT, 1, [["command", None]], 0, 0], "'command' with None is no value"),
    (["accept", BALLOT, 1, [["noop", 1]], 0, 0], "'noop' with 1 is no value"),
    (["accept", BALLOT, 1, [["joke", 1]], 0, 0], "'joke' with 1 is no value"),
    (["accept", BALLOT, 1, [["configuration", []]], 0, 0], "is no list of members' names"),
    (["accept", BALLOT, 1, [["configuration", ["a", "a"]]], 0, 0], "names a member twice"),
    (["accept", BALLOT, 2**53 - 1, [["noop", None]], 0, 0], "is no slot from which so many follow"),
    (["promise", BALLOT, 3, 3, 3, 0, []], "is not followed by slot 3"),
    (["promise", BALLOT, 3, 0, 0, 0, 5], "is no list of acceptances"),
    (["promise", BALLOT, 3, 0, 0, 0, [5]], "is no acceptance"),
    (["promise", BALLOT, 3, 0, 0, 0, [[2, BALLOT, "noop", None]]], "slot 2 is reported after 2"),
    (["promise", BALLOT, 3, 0, 5, 0, [[5, BALLOT, "noop", None]]], "slot 5 is reported after 5"),
    (["promise", BALLOT, 3, 0, 0, 0, [[3, [2, "n1"], "noop", None]]], "in a promise of"),
    (["promise", BALLOT, 3, 4, 0, 0, [[4, BALLOT, "noop", None]]], "but the next piece begins with 4"),
    (["chosen", 3, [[4, BALLOT, "noop", None]], 9], "slot 4 stands where 3 should"),
    (["chosen", 3, [[3, BALLOT, "noop", None]], 2], "more values are there than up to slot 2"),
    (["snapshot", 3, 1, ["n1"], 0, 9, 5], "the piece of a snapshot is 5, not its text"),
    (["snapshot", 3, 1, ["n1"], 0, 9, ""], "the piece of a snapshot is '', not its text"),
]


@pytest.mark.parametrize(("value", "reason"), NONSENSE, ids=str)
def test_nonsense_is_refused_with_a_sentence(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        decode(value)


def test_an_acceptance_is_its_own_record() -> None:
    acceptance = Acceptance(4, B1, "command", {"a": 1})
    assert read_acceptance(json.loads(json.dumps(acceptance))) == acceptance
    assert read_acceptance(acceptance) == acceptance
