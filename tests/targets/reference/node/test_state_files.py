"""What a data directory may hold instead of this node's own log: each protocol's node says so, and does not start."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from tests.targets.reference.node.conftest import MemoryFiles

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.programs import load_program

PROTOCOLS = ("raft", "paxos", "zab")


def build(files: MemoryFiles, protocol: str, *, name: str = "n1", cluster: str = "blue") -> Any:
    configuration = NodeConfiguration(name, (name,), protocol, load_program(protocol).knobs(), cluster)
    return build_program(configuration, files, RandomStream(1, name).bits, 0)


def run_for_a_while(node: Any, now_ns: int = 0) -> list[dict[str, Any]]:
    """Let a cluster of one elect itself and take three writes; every reply's body."""
    replies: list[dict[str, Any]] = []

    def absorb(effects: Any) -> None:
        replies.extend(reply["body"] for _, reply in effects.replies)
        if effects.sync_up_to:
            absorb(node.on_synced(effects.sync_up_to, now_ns))

    absorb(node.on_start(now_ns))
    for _ in range(50):
        now_ns = max(now_ns, node.deadline_ns)
        absorb(node.on_tick(now_ns))
        if node.describe()["leading"]:
            break
    for value in range(3):
        absorb(node.on_request(1, {"body": {"type": "write", "key": "k", "value": value}}, now_ns))
        now_ns = max(now_ns, node.deadline_ns)
        absorb(node.on_tick(now_ns))
    absorb(node.on_request(1, {"body": {"type": "read", "key": "k"}}, now_ns))
    return replies


def used(protocol: str) -> MemoryFiles:
    """The files of a node that has run."""
    files = MemoryFiles()
    replies = run_for_a_while(build(files, protocol))
    assert [reply["type"] for reply in replies] == ["write_ok"] * 3 + ["read_ok"]
    assert files.content["log"].count(b"\n") > 3
    return files


def line(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%d %08x %s\n" % (len(text), zlib.crc32(text), text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_node_goes_on_from_its_own_files(protocol: str) -> None:
    files = used(protocol)
    assert run_for_a_while(build(files, protocol))[-1]["value"] == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("field", "change"), [("node", {"name": "n2"}), ("cluster", {"cluster": "red"}), ("program", {})]
)
def test_files_of_another_node_cluster_or_program_are_refused(
    protocol: str, field: str, change: dict[str, str]
) -> None:
    files = used(PROTOCOLS[PROTOCOLS.index(protocol) - 1] if field == "program" else protocol)
    with pytest.raises(
        NodeFailure, match=f"the file log of this node cannot be used: at byte 0 .* {field} '"
    ):
        build(files, protocol, **change)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_of_a_later_format_is_refused(protocol: str) -> None:
    files = used(protocol)
    header = {"format": 2, "cluster": "blue", "node": "n1", "program": protocol}
    files.content["log"] = line(header) + files.content["log"].partition(b"\n")[2]
    with pytest.raises(NodeFailure, match=r"at byte 0 its header says format 2, and this program reads 1"):
        build(files, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_bytes_are_refused(protocol: str) -> None:
    rng = RandomStream(1, protocol)
    for _ in range(20):
        files = MemoryFiles()
        files.content["log"] = bytes(rng.below(256) for _ in range(rng.between(1, 200)))
        with pytest.raises(NodeFailure, match=r"file log .* at byte 0"):
            build(files, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_damaged_record_in_the_middle_is_refused_with_its_place(protocol: str) -> None:
    whole = used(protocol).content["log"]
    lines = whole.splitlines(keepends=True)
    for number in range(1, len(lines) - 1):
        offset = sum(len(one) for one in lines[:number])
        for damage in (offset, offset + len(lines[number]) // 2):
            files = MemoryFiles()
            data = bytearray(whole)
            data[damage] ^= 1
            files.content["log"] = bytes(data)
            with pytest.raises(NodeFailure, match=f"file log .* at byte {offset} "):
                build(files, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_cut_anywhere_behind_its_header_is_used_up_to_there(protocol: str) -> None:
    whole = used(protocol).content["log"]
    for length in range(whole.index(b"\n") + 1, len(whole), 7):
        files = MemoryFiles()
        files.content["log"] = whole[:length]
        assert run_for_a_while(build(files, protocol))[-1]["value"] == 2
    for length in range(1, whole.index(b"\n"), 7):
        files = MemoryFiles()
        files.content["log"] = whole[:length]
        with pytest.raises(NodeFailure, match="at byte 0"):
            build(files, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "record",
    [
        [1, "state", "nonsense"],
        [1, "state", []],
        [1, "state", 7],
        [1, "entries", [[1, 1]]],
        [1, "entries", [7]],
        [1, "snapshot", [3, 1]],
        [1, "nonsense", {}],
    ],
)
def test_whole_records_that_no_node_of_this_protocol_wrote_are_refused(protocol: str, record: Any) -> None:
    files = used(protocol)
    files.content["log"] = files.content["log"].partition(b"\n")[0] + b"\n" + line(record)
    with pytest.raises(NodeFailure, match="the file log of this node cannot be used"):
        build(files, protocol)
