"""``foreshock serve`` as a command: what it says, and what it says when it cannot."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.commands import foreshock
from tests.harness.server.serving import Serving

from foreshock.harness.server import headers
from foreshock.harness.server.serving import address_of, bind


def test_a_port_in_use_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = foreshock("serve", "--port", str(port), "--store", str(tmp_path))
    assert said.code == 4
    assert said.out == ""
    assert said.err == (
        f"foreshock: port {port} of 127.0.0.1 is in use by another process: choose another one with --port, or "
        "--port 0 for any that is free\n"
    )


def test_a_store_that_is_a_device_is_refused_and_not_said_to_come() -> None:
    said = foreshock("serve", "--port", "0", "--store", "/dev/null")
    assert (said.code, said.out) == (4, "")
    assert "--store '/dev/null' is no folder" in said.err


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no-such-host.invalid", "is no address of this machine"),
        ("192.0.2.1", "is no address of this machine"),
    ],
)
def test_a_host_that_is_not_this_machine_is_refused(tmp_path: Path, host: str, sentence: str) -> None:
    said = foreshock("serve", "--port", "0", "--host", host, "--store", str(tmp_path))
    assert said.code == 4
    assert sentence in said.err


def test_another_host_than_loopback_is_warned_about_and_answers_to_its_name(tmp_path: Path) -> None:
    with Serving(tmp_path, "--host", "0.0.0.0") as server:
        assert server.get("/", headers={"Host": "192.168.1.5:80"}).status == 200
        assert server.get("/", headers={"Host": "evil.example"}).status == 421
        assert server.end() == 0
    assert server.said == (
        "foreshock: --host 0.0.0.0 is not this machine alone: whoever reaches it may read the whole store\n"
    )


def test_a_store_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with Serving(tmp_path / "later") as server:
        assert "No test has been run in this store yet" in server.get("/").text
        assert server.get("/store/latest/").status == 404


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_what_only_this_machine_can_reach_is_known(host: str, loopback: bool) -> None:
    assert headers.is_loopback(host) is loopback


def test_one_name_of_several_addresses_has_one_port(tmp_path: Path) -> None:
    sockets = bind("localhost", 0)
    try:
        assert len({bound.getsockname()[1] for bound in sockets}) == 1
        assert address_of("localhost", sockets) == f"http://localhost:{sockets[0].getsockname()[1]}/"
    finally:
        for bound in sockets:
            bound.close()
