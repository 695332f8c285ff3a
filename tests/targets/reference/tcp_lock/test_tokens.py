"""Tokens that outlive the server, and files that cannot be trusted."""

from __future__ import annotations

import json
import zlib

import pytest
from tests.targets.reference.node.conftest import MemoryFiles

from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.tcp_lock.tokens import FILE_NAME, TokenCounter


def counter(files: MemoryFiles, *, node: str = "n1", at_once: int = 3) -> TokenCounter:
    return TokenCounter(files, cluster="c", node=node, at_once=at_once)


def take(tokens: TokenCounter) -> int:
    """The next token, when the disk has done its part."""
    if tokens.reserve():
        tokens.synced(tokens.sync_up_to)
    token = tokens.take()
    assert token is not None
    return token


def test_tokens_grow_through_restarts_and_many_are_reserved_at_once() -> None:
    files, seen, written = MemoryFiles(), [], []
    for _ in range(3):
        tokens = counter(files)
        for _ in range(4):
            seen.append(take(tokens))
            written.append(files.content[FILE_NAME])
    assert seen == sorted(set(seen))
    assert len(set(written)) < len(written)
    assert all(json.loads(text[9:])["reserved"] >= token for token, text in zip(seen, written, strict=True))


def test_no_token_is_given_out_before_the_disk_covers_it() -> None:
    tokens = counter(MemoryFiles())
    assert tokens.take() is None
    assert tokens.reserve()
    assert tokens.take() is None
    assert not tokens.reserve(), "one reservation at a time"
    tokens.synced(tokens.sync_up_to - 1)
    assert tokens.take() is None
    tokens.synced(tokens.sync_up_to)
    assert [tokens.take() for _ in range(4)] == [1, 2, 3, None]


def test_more_are_reserved_before_the_last_is_used() -> None:
    tokens = counter(MemoryFiles(), at_once=10)
    tokens.reserve()
    tokens.synced(1)
    assert not tokens.reserve()
    for _ in range(5):
        tokens.take()
    assert tokens.reserve()
    assert [tokens.take() for _ in range(6)] == [6, 7, 8, 9, 10, None]


def test_the_first_life_is_known_by_the_absence_of_the_file() -> None:
    files = MemoryFiles()
    tokens = counter(files)
    assert tokens.is_first_life
    assert counter(files).is_first_life
    tokens.reserve()
    assert not counter(files).is_first_life


def test_a_disk_that_refuses_is_told_of() -> None:
    class Full(MemoryFiles):
        def replace(self, name: str, data: bytes) -> None:
            raise OSError(28, "No space left on device", name)

    with pytest.raises(OSError, match="No space left"):
        counter(Full()).reserve()


def line(text: str) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text.encode()), text.encode())


GOOD = json.dumps({"cluster": "c", "node": "n1", "reserved": 3})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (line(GOOD)[:-5], "file tokens .* at byte 0 its checksum is wrong"),
        (line(GOOD).replace(b"3}", b"4}"), "at byte 0 its checksum is wrong"),
        (b"", "at byte 0 its checksum is wrong"),
        (line("[1]"), "at byte 9 there is no count of tokens"),
        (line('{"cluster": "c"}'), "at byte 9 there is no count of tokens"),
        (
            line(GOOD.replace("n1", "n2")),
            "at byte 9 it belongs to node 'n2' of cluster 'c', not to 'n1' of 'c'",
        ),
        (
            line(GOOD.replace('"c"', '"other"')),
            "at byte 9 it belongs to node 'n1' of cluster 'other', not to 'n1' of 'c'",
        ),
        (line(GOOD.replace("3}", '"x"}')), "at byte 9 the count of tokens is 'x'"),
    ],
)
def test_a_file_that_is_damaged_or_another_nodes_is_refused_with_its_place(content: bytes, said: str) -> None:
    files = MemoryFiles()
    files.content[FILE_NAME] = content
    with pytest.raises(NodeFailure, match=said):
        counter(files)
