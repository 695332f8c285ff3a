"""The wire: what is sent is what is read, and nonsense is refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.zab import decode, encode
from foreshock.targets.reference.node.zab import messages as m

ENTRIES = (Entry(4, 2, "command", {"a": [1]}), Entry(5, 3, "configuration", ["n1", "n2"]))
PAYLOADS = [
    m.Cepoch(0),
    m.NewEpoch(3),
    m.AckEpoch(3, 2, 2, 9, True),
    m.Trunc(3, 7),
    m.Diff(3, 3, 2, ENTRIES),
    m.Diff(3, 0, 0, ()),
    m.Snap(3, 8, 2, ("n1", "n2"), 0, 0, {"state": 1}),
    m.Snap(3, 8, 2, ("n1", "n2"), 4, 9, "abcd"),
    m.NewLeader(3, 8),
    m.AckLeader(3),
    m.UpToDate(3, 7),
    m.Proposal(3, (Entry(9, 3, "noop", None),), 8),
    m.Ack(3, 9),
    m.Commit(3, 9),
    m.Sync(3, 17),
    m.SyncReply(3, 17, 9),
    m.TakeOver(3),
]
MESSAGES = [
    m.Notification(4, "looking", 2, 2, 9, 1, "n3", 0),
    m.Notification(4, "leading", 2, 2, 9, 2, "n3", 3),
    *[m.Frame(2**40, 1, 0, payload) for payload in PAYLOADS],
    m.Beat(2**40, 7, 5, 3),
    m.Resend(2**40, 3, 6),
    m.Close(2**40),
]


@pytest.mark.parametrize(
    "message", MESSAGES, ids=lambda message: type(getattr(message, "payload", message)).__name__
)
def test_a_message_comes_back_as_it_was_sent(message: m.Message) -> None:
    assert decode(json.loads(json.dumps(encode(message)))) == message


def frame(*payload: Any) -> list[Any]:
    return ["frame", 1, 1, 0, list(payload)]


NONSENSE: list[tuple[Any, str]] = [
    (None, "begins with its tag"),
    ([], "begins with its tag"),
    ([3], "begins with its tag"),
    (["append", 1], "no message of Zab has the tag 'append'"),
    (["close"], "a close has 1 fields, not 0"),
    (["close", -1], "-1 is no integer"),
    (["close", True], "True is no integer"),
    (["close", 2**53], "is no integer"),
    (["frame", 1, 0, 0, ["ack", 1, 1]], "counts from 1"),
    (["frame", 1, 1, 0, "ack"], "a payload of Zab is a list"),
    (["notification", 1, "lost", 1, 1, 1, 1, "n1", 0], "'lost' is none of"),
    (["notification", 1, [], 1, 1, 1, 1, "n1", 0], "is none of"),
    (frame("ack_epoch", 1, 0, 0, 0, 1), "neither true nor false"),
    (["notification", 1, "looking", 1, 1, 1, 1, "", 0], "is no node's name"),
    (frame("close", 1), "no payload of Zab has the tag 'close'"),
    (frame("new_epoch", 0), "counts from 1"),
    (frame("propose", 3, [], 0), "at least one entry"),
    (frame("propose", 3, {}, 0), "is no list of entries"),
    (frame("propose", 3, [[9, 3, "noop"]], 0), "is no entry"),
    (frame("propose", 3, [[9, 3, "noop", 1]], 0), "is no entry"),
    (frame("propose", 3, [[9, 3, "command", None]], 0), "is no entry"),
    (frame("propose", 3, [[9, 3, "wish", 1]], 0), "is no entry"),
    (frame("propose", 3, [[9, 3, "configuration", []]], 0), "no list of members"),
    (frame("propose", 3, [[9, 3, "configuration", ["n1", "n1"]]], 0), "names a member twice"),
    (frame("propose", 3, [[9, 2, "command", 1]], 0), "the epoch of position 9 is 2, after 3"),
    (frame("propose", 3, [[9, 4, "command", 1]], 0), "is proposed in 3"),
    (frame("propose", 3, [[9, 3, "command", 1], [11, 3, "command", 1]], 0), "stands where 10 should"),
    (frame("diff", 3, 3, 2, [[5, 2, "command", 1]]), "stands where 4 should"),
    (frame("diff", 3, 3, 0, []), "no entry is at 3"),
    (frame("diff", 3, 3, 4, []), "an entry of epoch 4 comes from a leader of 3"),
    (frame("snap", 3, 8, 4, ["n1"], 0, 0, {}), "no snapshot ends with epoch 4"),
    (frame("snap", 3, 8, 2, [], 0, 0, {}), "no list of members"),
    (frame("snap", 3, 8, 2, ["n1"], 0, 9, ""), "not its text"),
    (frame("snap", 3, 8, 2, ["n1"], 0, 9, {}), "not its text"),
]


@pytest.mark.parametrize(("value", "sentence"), NONSENSE)
def test_nonsense_is_refused_with_a_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="^.*" + sentence.replace("(", r"\(")):
        decode(value)
