"""The wire: lines in and out, whatever they hold, and the handshake of peers."""

from __future__ import annotations

from typing import Any

import pytest

from foreshock.targets.reference.node.wire import (
    VERSION,
    BadLine,
    decode_line,
    encode_line,
    hello,
    is_hello,
    reply_to,
    turned_away,
)

PEERS = {"n2": 1, "n3": 2}
OWN = hello("n1", "n1", "blue", "raft")


def test_a_message_survives_the_wire_as_one_line() -> None:
    message = {
        "src": "c1",
        "dest": "n1",
        "body": {"type": "write", "key": "\n\u2028é\ud800", "value": [1, None]},
    }
    line = encode_line(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b"\x00",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": [-1e400]}',
        b"{} {}",
        b"GET / HTTP/1.1\r",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
)
def test_a_line_that_is_no_message_is_told_so_in_a_sentence(line: bytes) -> None:
    with pytest.raises(BadLine, match=r"^the line is no JSON") as caught:
        decode_line(line)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("message", [{}, {"src": "c"}, {"src": "c", "body": []}, {"src": "c", "body": {}}])
def test_a_reply_can_be_made_to_anything(message: dict[str, Any]) -> None:
    reply = reply_to(message, "n1", {"type": "x_ok"})
    assert reply == {
        "src": "n1",
        "dest": message.get("src"),
        "body": {"type": "x_ok", "in_reply_to": None},
    }


def test_a_peer_of_the_same_version_and_cluster_is_welcome() -> None:
    message = decode_line(encode_line(hello("n2", "n1", "blue", "raft")))
    assert is_hello(message)
    assert turned_away(message, OWN, PEERS) is None


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        (
            {"body": {"type": "hello", "version": VERSION + 1, "cluster": "blue"}},
            f"speaks version {VERSION + 1}",
        ),
        ({"body": {"type": "hello"}}, "speaks version None"),
        ({"body": {"type": "hello", "version": VERSION, "cluster": "red"}}, "belongs to the cluster 'red'"),
        (
            {"body": {"type": "hello", "version": VERSION, "cluster": "blue", "program": "zab"}},
            "runs 'zab' and n1 runs 'raft'",
        ),
        ({"dest": "n7"}, "took it for 'n7'"),
        ({"src": "n9"}, "not among its --peer nodes"),
        ({"src": ["n2"]}, "not among its --peer nodes"),
    ],
)
def test_any_other_peer_is_turned_away_with_a_sentence(change: dict[str, Any], needle: str) -> None:
    reason = turned_away({**hello("n2", "n1", "blue", "raft"), **change}, OWN, PEERS)
    assert reason is not None
    assert reason.startswith("n1 turned away the peer")
    assert needle in reason
