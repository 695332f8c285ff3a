"""Messages on the wire: what was sent comes back, and nothing else gets in."""

from __future__ import annotations

import json

import pytest

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.raft import decode, encode
from foreshock.targets.reference.node.raft.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)

ENTRIES = (
    Entry(5, 2, "command", {"f": "write", "value": [1, None]}),
    Entry(6, 2, "configuration", ["n1", "n2"]),
    Entry(7, 3, "noop", None),
)
MESSAGES: list[Message] = [
    PreVote(3, 7, 2),
    PreVoteReply(3, 4, True),
    Vote(3, 7, 2, False),
    VoteReply(3, False),
    Append(3, 4, 2, ENTRIES, 4, 9),
    Append(3, 0, 0, (), 0, 0),
    AppendReply(3, True, 7, 0, 0, 9),
    InstallSnapshot(3, 9, 2, ("n1", "n2"), 0, 0, {"any": "thing"}, 1),
    InstallSnapshot(3, 9, 2, ("n1",), 10, 30, '{"piece', 1),
    SnapshotReply(3, 9, 10, 1),
    TimeoutNow(3),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    again = decode(json.loads(json.dumps(encode(message))))
    assert type(again) is type(message)
    assert again == message


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "list"),
        ([], "list"),
        ([7], "list"),
        ({"append": 1}, "list"),
        (["appendix", 1], "tag"),
        (["vote", 1, 2, 3], "fields"),
        (["vote", 1, 2, 3, 4], "neither true nor false"),
        (["vote", -1, 2, 3, True], "integer"),
        (["vote", True, 2, 3, True], "integer"),
        (["vote", 1.0, 2, 3, True], "integer"),
        (["vote", 2**53, 2, 3, True], "integer"),
        (["append", 3, 4, 2, {}, 0, 0], "list of entries"),
        (["append", 3, 4, 2, [[5, 2, "command"]], 0, 0], "no entry"),
        (["append", 3, 4, 2, [[6, 2, "command", 1]], 0, 0], "stands where 5 should"),
        (["append", 3, 4, 2, [[5, 1, "command", 1]], 0, 0], "after 2"),
        (["append", 3, 4, 2, [[5, 4, "command", 1]], 0, 0], "message of term 3"),
        (["append", 3, 4, 2, [[5, 2, "command", None]], 0, 0], "no entry"),
        (["append", 3, 4, 2, [[5, 2, "noop", 1]], 0, 0], "no entry"),
        (["append", 3, 4, 2, [[5, 2, "bomb", 1]], 0, 0], "no entry"),
        (["append", 3, 4, 2, [[5, 2, ["command"], 1]], 0, 0], "no entry"),
        (["append", 3, 4, 2, [[5, 2, "configuration", []]], 0, 0], "members"),
        (["append", 3, 4, 2, [[5, 2, "configuration", ["a", "a"]]], 0, 0], "twice"),
        (["append", 3, 4, 0, [], 0, 0], "no entry is at position 4"),
        (["append", 3, 0, 1, [], 0, 0], "no entry is at position 0"),
        (["snapshot", 3, 0, 2, ["n1"], 0, 0, 1, 0], "no snapshot"),
        (["snapshot", 3, 9, 4, ["n1"], 0, 0, 1, 0], "no snapshot"),
        (["snapshot", 3, 9, 2, [""], 0, 0, 1, 0], "members"),
        (["snapshot", 3, 9, 2, ["n1"], 0, 10, 5, 0], "piece"),
    ],
)
def test_nonsense_is_refused_with_a_reason(value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode(value)
