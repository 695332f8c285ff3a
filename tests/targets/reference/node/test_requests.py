"""What a node lets through to the log, and what it says about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from foreshock.targets.reference.node import codes
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

OWNED = {"client": 3, "seq": 1}


def logged(operation: list[Any]) -> Replicate:
    return Replicate(["do", None, None, operation], None, operation[1])


def owned(operation: list[Any], wait_ms: int = 0) -> Replicate:
    return Replicate(["do", 3, 1, operation], 3, operation[1], wait_ms)


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        ({"type": "write", "key": "k", "value": 1}, logged(["write", "k", 1])),
        ({"type": "write", "key": 5, "value": {"a": [1]}, **OWNED}, owned(["write", 5, {"a": [1]}])),
        ({"type": "cas", "key": "k", "from": None, "to": 1}, logged(["cas", "k", None, 1])),
        ({"type": "acquire", "key": "k", **OWNED}, owned(["acquire", "k", False])),
        ({"type": "acquire", "key": "k", "wait_ms": 9, **OWNED}, owned(["acquire", "k", True], 9)),
        ({"type": "release", "key": "k", "token": 4, **OWNED}, owned(["release", "k", 4])),
        ({"type": "read", "key": -1}, Query("read", -1)),
        ({"type": "get", "key": "k", "version": 0}, Query("get", "k", 0)),
        ({"type": "open"}, OpenSession(60_000)),
        ({"type": "close", "client": 3}, Replicate(["close", 3])),
        ({"type": "status", "whatever": 1}, Status()),
        ({"type": "add_member", "node": "n6"}, ChangeMembers("n6", None)),
        ({"type": "remove_member", "node": "n6"}, ChangeMembers(None, "n6")),
        ({"type": "transfer_leadership"}, Transfer(None)),
    ],
)
def test_a_proper_request_is_understood(body: dict[str, Any], request_: Any) -> None:
    assert parse_request(body) == request_


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("body", "needle"),
    [
        ({}, "no request of type None"),
        ({"type": ["write"]}, "no request of type"),
        ({"type": "write", "value": 1}, "key is None"),
        ({"type": "write", "key": True, "value": 1}, "key is True"),
        ({"type": "write", "key": 1.5, "value": 1}, "key is 1.5"),
        ({"type": "write", "key": 1 << 63, "value": 1}, "key is"),
        ({"type": "write", "key": "k" * 1025, "value": 1}, "key is"),
        ({"type": "write", "key": "k"}, "value is None"),
        ({"type": "write", "key": "k", "value": nested(33)}, "nested more than 32 deep"),
        ({"type": "write", "key": "k", "value": {"a": nested(500)}}, "nested more than 32 deep"),
        ({"type": "write", "key": "k", "value": 1, "client": 3}, "seq is None"),
        ({"type": "write", "key": "k", "value": 1, "seq": 3}, "client is None"),
        ({"type": "write", "key": "k", "value": 1, "client": "c", "seq": 3}, "client is 'c'"),
        ({"type": "write", "key": "k", "value": 1, "client": 3, "seq": 0}, "seq is 0"),
        ({"type": "write", "key": "k", "value": 1, "client": 3, "seq": True}, "seq is True"),
        ({"type": "acquire", "key": "k"}, "client is None"),
        ({"type": "acquire", "key": "k", "wait_ms": -1, **OWNED}, "wait_ms is -1"),
        ({"type": "release", "key": "k", "token": "4", **OWNED}, "token is '4'"),
        ({"type": "open", "ttl_ms": 5}, "ttl_ms is 5; it must be an integer from 100 to 3600000"),
        ({"type": "add_member"}, "node is None"),
    ],
)
def test_an_improper_one_is_answered_with_a_sentence_that_names_the_value(
    body: dict[str, Any], needle: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(body)
    assert needle in str(caught.value)
    assert len(str(caught.value)) < 300
    assert caught.value.code == codes.MALFORMED


def test_an_unknown_type_is_not_supported_and_the_known_ones_are_named() -> None:
    with pytest.raises(BadRequest, match="there are acquire, add_member") as caught:
        parse_request({"type": "wirte"})
    assert caught.value.code == codes.NOT_SUPPORTED


def test_a_value_may_be_nested_to_the_limit() -> None:
    assert isinstance(parse_request({"type": "write", "key": "k", "value": nested(32)}), Replicate)


def test_a_lock_is_asked_for_in_a_mode_and_with_permits_where_that_makes_sense() -> None:
    asked = {"type": "acquire", "key": "k", "client": 1, "seq": 1}
    assert parse_request({**asked, "mode": "permit", "permits": 3}).command[3] == [
        "acquire",
        "k",
        False,
        "permit",
        3,
    ]  # type: ignore[union-attr]
    assert parse_request({**asked, "mode": "read"}).command[3] == ["acquire", "k", False, "read", 1]  # type: ignore[union-attr]
    for fields in (
        {"mode": "borrow"},
        {"permits": 2},
        {"mode": "read", "permits": 2},
        {"mode": "permit", "permits": 0},
    ):
        with pytest.raises(BadRequest):
            parse_request({**asked, **fields})
