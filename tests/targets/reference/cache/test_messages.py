"""What nodes say to each other comes back as it was, and what is none of it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foreshock.targets.reference.node.cache.messages import (
    Fetch,
    Fetched,
    Recall,
    Recalled,
    Store,
    Stored,
    StoreRefused,
    decode,
    encode,
)

MESSAGES = (
    Fetch(1, "k", None),
    Fetch(2, 7, 3),
    Fetched(1, 2, 3, {"a": [None]}, False, 1 << 62),
    Fetched(1, 2, 3, None, True, 0),
    Store(1 << 61, 2, 3, 1, "k", None),
    Stored(1, 2, 3),
    StoreRefused(1, 2, True),
    Recall(1 << 33, "k", None),
    Recall(1, "k", 5),
    Recalled(1),
)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_through_json(message: Any) -> None:
    again = decode(json.loads(json.dumps(encode(message))))
    assert again == message
    assert type(again) is type(message)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        ["Fetch"],
        ["Nonsense", 1],
        ["Recalled", 1, 2],
        ["Recalled", -1],
        ["Recalled", "1"],
        ["Recalled", True],
        ["Fetch", 1, None, 2],
        ["Fetch", 1, 2.5, 2],
        ["Fetch", 1, "k", -1],
        ["Stored", 1, None, 3],
        ["StoreRefused", 1, 2, 1],
        ["Fetched", 1, 2, 3, None, "no", 4],
        {"Recalled": 1},
    ],
)
def test_what_is_no_message_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode(data)
