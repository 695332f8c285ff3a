"""Where hosts are, what they are like, and which are refused: all of it without a host."""

from __future__ import annotations

import getpass
import itertools
import socket
import subprocess
from pathlib import Path
from typing import Any

import paramiko
import pytest

from foreshock.harness.backends.ssh import SshBackend
from foreshock.harness.backends.ssh.connections import Connection, HostKeyError, explained
from foreshock.harness.backends.ssh.facts import (
    Facts,
    addresses_of,
    check_guard,
    check_host,
    facts_script,
    read_facts,
)
from foreshock.harness.backends.ssh.options import SshOptions, assigned
from foreshock.harness.backends.ssh.places import Place, check_named, places_of
from foreshock.harness.errors import DeployError, HarnessError, UsageError
from foreshock.harness.options import parse_options
from foreshock.harness.plan import resolve
from foreshock.harness.request import Request

CONFIG = """\
Host n1
  HostName 10.0.0.1
  User root
  Port 2222
  IdentityFile ~/keys/one
  IdentityFile {folder}/two
Host n2
  HostName 10.0.0.2
  HostKeyAlias second
  Port 2222
  ProxyJump ann@jump:2200,last
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
Host n3
  ProxyCommand nc %h %p
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config"
    path.write_text(CONFIG.format(folder=tmp_path))
    return str(path)


def test_hosts_are_looked_up_as_ssh_does(config: str, tmp_path: Path) -> None:
    places = places_of(SshOptions(config=config), ["n1", "n2", "n3", "n4"])
    n1, n2, n3, n4 = places.values()
    assert n1.shown == "root@10.0.0.1:2222"
    assert n1.known_as == "[10.0.0.1]:2222"
    assert n1.identities == (str(Path("~/keys/one").expanduser()), f"{tmp_path}/two")
    assert (n2.known_as, n2.only_identities) == ("second", True)
    assert n2.known_hosts[0] == f"{tmp_path}/known"
    assert n2.proxy == (f"ssh -o BatchMode=yes -F {config} -J ann@jump:2200 -W '[10.0.0.2]:2222' last")
    assert n3.proxy == "nc n3 22"
    assert n4.shown == f"{getpass.getuser()}@n4:22"
    assert n4.known_hosts == (str(Path("~/.ssh/known_hosts").expanduser()), "/etc/ssh/ssh_known_hosts")


@pytest.mark.parametrize("as_table", [False, True])
def test_hosts_of_the_command_line_or_a_table_go_before_the_configuration(
    config: str, as_table: bool
) -> None:
    table = {"n1": "ann@n1", "n2": "[fe80::1]:23", "n4": "10.0.0.4:24"}
    hosts: Any = table if as_table else ",".join(f"{k}={v}" for k, v in table.items())
    given = {"config": config, "hosts": hosts, "user": "bob", "port": "2022"}
    options = parse_options(SshOptions, given, owner="ssh")
    places = places_of(options, ["n1", "n2", "n4", "n5"])
    assert [place.shown for place in places.values()] == [
        "ann@10.0.0.1:2222",
        "bob@fe80::1:23",
        "bob@10.0.0.4:24",
        "bob@n5:2022",
    ]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"hosts": "n1"}, "ssh.hosts: 'n1' is not NODE=VALUE"),
        ({"hosts": "n1=a,n1=b"}, "the node 'n1' is named twice"),
        ({"hosts": "n9=a"}, "ssh.hosts names 'n9', which is no node"),
        ({"addresses": "n9=10.0.0.1"}, "ssh.addresses names 'n9', which is no node"),
        ({"hosts": "n1=a@b@c:x"}, "is no place of node n1: write USER@HOST:PORT"),
        ({"hosts": "n1=a:70000"}, "the port 70000 of node n1 is out of bounds"),
        ({"hosts": "n1=a,n2=a"}, r"the nodes n1 and n2 are on one host \(a:22\)"),
        ({"config": "/nowhere/config"}, "ssh.config: there is no file '/nowhere/config'"),
        ({"identity": "/nowhere/key"}, "ssh.identity: there is no file '/nowhere/key'"),
        ({"known_hosts": "/nowhere/known"}, "ssh.known_hosts: there is no file '/nowhere/known'"),
        ({"remote_directory": "here"}, "ssh.remote_directory cannot be 'here'"),
        ({"remote_directory": "/tmp/../etc"}, "ssh.remote_directory cannot be"),
        ({"remote_directory": "/tmp/a b"}, "ssh.remote_directory cannot be"),
        ({"config": "/dev/zero"}, "ssh.config: '/dev/zero' is no regular file"),
        (
            {"hosts": "n1=root:hush@a"},
            "the host of n1 is a URL, or has a password in it: write USER@HOST:PORT",
        ),
        ({"hosts": "n1=ssh://root@a"}, "the host of n1 is a URL, or has a password in it"),
        ({"sudo": "perhaps"}, "the option 'sudo' cannot be 'perhaps': expected one of never, auto, always"),
        ({"password": "secret"}, "ssh has no option 'password'"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        places_of(parse_options(SshOptions, given, owner="ssh"), ["n1", "n2"])


def test_a_configuration_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    broken = tmp_path / "config"
    broken.write_text("Host n1\n  HostName\n")
    with pytest.raises(UsageError, match="cannot be understood"):
        places_of(SshOptions(config=str(broken)), ["n1"])


def test_an_empty_list_is_an_empty_mapping() -> None:
    assert assigned("", option="hosts") == {}
    assert assigned("n1=a=b, n2=c", option="hosts") == {"n1": "a=b", "n2": "c"}


# --- what a host says of itself ----------------------------------------------------------------------------------

PLACE = Place(node="n1", hostname="10.0.0.1", port=22, user="ann", key_name="10.0.0.1", known_hosts=("/k",))
SAID = "boot b-1\nuser 1000\nsystem Linux\npython 3.11\nconnection 10.0.0.9 5 ::ffff:10.0.0.1 22\ngateway 10.0.0.254\n"


def facts(text: str = "", **replaced: str) -> Facts:
    lines = [line for line in SAID.splitlines() if line.split()[0] not in replaced]
    lines += [f"{key} {value}" for key, value in replaced.items()]
    return read_facts("\n".join(lines) + "\n" + text, PLACE)


def test_what_this_machine_says_can_be_read(tmp_path: Path) -> None:
    script = facts_script(["no-such-program", "sh"], ["no-such-package"])
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin", "SSH_CONNECTION": "10.0.0.9 5 10.0.0.1 22"}
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, env=environment, timeout=30, check=True
    )
    found = read_facts(done.stdout, PLACE)
    assert found.system == "Linux"
    assert found.missing_programs == ("no-such-program",)
    assert found.connection == ("10.0.0.9", 5, "10.0.0.1", 22)
    assert found.boot.startswith(Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def test_facts_are_read_and_a_fit_host_is_let_pass() -> None:
    found = facts()
    assert (found.boot, found.user_id, found.gateways) == ("b-1", 1000, frozenset({"10.0.0.254"}))
    assert found.connection == ("10.0.0.9", 5, "10.0.0.1", 22)
    check_host(found, PLACE)


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"system": "Darwin"}, r"the host of node n1 \(ann@10.0.0.1:22\) runs Darwin, and nodes need Linux"),
        ({"python": ""}, r"has no python3: install it \(sudo apt install python3\)"),
        ({"python": "3.9"}, "is 3.9, and nodes need 3.11 or newer"),
        (
            {"package": "redis-server"},
            r"lacks what the target needs: install it \(sudo apt install redis-server",
        ),
        (
            {"program": "iptables-restore"},
            r"lacks iptables-restore: install it \(sudo apt install iptables\)",
        ),
    ],
)
def test_an_unfit_host_is_told_what_mends_it(found: dict[str, str], complaint: str) -> None:
    with pytest.raises(DeployError, match=complaint):
        check_host(facts(**found), PLACE)


def test_a_host_that_does_not_say_who_we_are_is_refused() -> None:
    with pytest.raises(DeployError, match="does not say who we are"):
        read_facts("user 0\nconnection \n", PLACE)


def reached(**connections: str) -> dict[str, Facts]:
    return {name: facts(connection=connection) for name, connection in connections.items()}


def test_nodes_are_reached_where_ssh_arrives_or_where_the_user_says() -> None:
    two = reached(n1="10.0.0.9 5 10.0.0.1 22", n2="10.0.0.9 5 10.0.0.2 22")
    assert addresses_of(two, {}) == {"n1": "10.0.0.1", "n2": "10.0.0.2"}
    assert addresses_of(two, {"n2": "192.168.0.2"}) == {"n1": "10.0.0.1", "n2": "192.168.0.2"}


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ("fe80::9 5 fe80::2 22", "node n2 is at fe80::2, which is no IPv4 address"),
        ("127.0.0.1 5 127.0.0.1 22", "node n2 is at 127.0.0.1, where no other node reaches it"),
        ("10.0.0.9 5 10.0.0.1 22", "the nodes n1 and n2 are both at 10.0.0.1"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(second: str, complaint: str) -> None:
    with pytest.raises(DeployError, match=complaint):
        addresses_of(reached(n1="10.0.0.9 5 10.0.0.1 22", n2=second), {})


def test_a_harness_on_the_host_of_a_node_is_not_cut_off() -> None:
    """Whoever is cut off by address would take the harness with it."""
    two = reached(n1="127.0.0.1 5 10.0.0.1 22", n2="10.0.0.1 5 10.0.0.2 22")
    with pytest.raises(
        DeployError, match=r"node n2 comes from 10.0.0.1, the address of node n1: a fault that cuts n1"
    ):
        check_guard(two, {"n1": "10.0.0.1", "n2": "10.0.0.2"})
    elsewhere = reached(n1="10.0.0.9 5 10.0.0.1 22", n2="10.0.0.9 5 10.0.0.2 22")
    check_guard(elsewhere, {"n1": "10.0.0.1", "n2": "10.0.0.2"})


def test_a_default_gateway_is_no_node() -> None:
    found = reached(n1="10.0.0.9 5 10.0.0.1 22", n2="10.0.0.9 5 10.0.0.254 22")
    with pytest.raises(
        DeployError, match=r"node n2 \(10.0.0.254\) is the default gateway of the host of node n1"
    ):
        check_guard(found, {"n1": "10.0.0.1", "n2": "10.0.0.254"})


# --- what is said when nobody is let in -----------------------------------------------------------------------------


def test_a_changed_key_is_said_with_both_fingerprints_and_the_mend() -> None:
    shown, known = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    error = explained(PLACE, paramiko.BadHostKeyException("10.0.0.1", shown, known))
    assert isinstance(error, HostKeyError)
    for part in (shown.fingerprint, known.fingerprint, "has changed", "ssh-keygen -R 10.0.0.1 -f /k"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (TimeoutError(), "does not answer within 10 s"),
        (paramiko.SSHException("No existing session"), "does not answer within 10 s"),
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached: Connection refused"),
        (
            paramiko.AuthenticationException("no"),
            "lets nobody in with the keys that are here: put a key of yours",
        ),
        (
            paramiko.SSHException("Error reading SSH protocol banner"),
            "does not speak ssh with us: Error reading",
        ),
        (EOFError(), "does not speak ssh with us: EOFError"),
    ],
)
def test_why_nobody_is_let_in_is_one_sentence(raised: Exception, said: str) -> None:
    text = str(explained(PLACE, raised))
    assert said in text
    assert text.startswith("the host of node n1 (ann@10.0.0.1:22)")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("h1 ssh-ed25519 AAA\n", r"cannot be understood \(h1 ssh-ed25519 AAA\): mend or remove that line"),
        ("h1 ssh-rsa AAAAB3NzaC1yc2E=\n", "cannot be understood .* mend or remove that line"),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_known_host_keys_that_are_none_are_one_sentence(
    content: str | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "known_hosts"
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    place = Place(node="n1", hostname="h1", port=22, user="ann", key_name="h1", known_hosts=(str(file),))
    with pytest.raises(HarnessError, match=f"the known host keys in {file} {said}"):
        Connection(place).open()


def test_what_goes_wrong_at_the_door_is_a_matter_of_keys() -> None:
    error = explained(PLACE, paramiko.SSHException("encountered EC key"), at_the_door=True)
    assert "lets nobody in with the keys that are here" in str(error)
    changed = paramiko.BadHostKeyException("h", paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate())
    assert isinstance(explained(PLACE, changed, at_the_door=True), HostKeyError)


def test_a_locked_key_is_for_the_agent(tmp_path: Path) -> None:
    key = tmp_path / "key"
    paramiko.ECDSAKey.generate().write_private_key_file(str(key), password="locked")
    place = Place(**{**_fields(PLACE), "identities": (str(key),)})
    text = str(explained(place, paramiko.AuthenticationException("no")))
    assert f"{key} is locked by a passphrase, so load it into the agent (ssh-add {key})" in text
    assert "password" not in text


def test_a_name_that_nobody_knows_is_said_to_be_one(tmp_path: Path) -> None:
    place = Place(**{**_fields(PLACE), "hostname": "no-such-host.invalid"})
    with pytest.raises(
        HarnessError, match=r"no address is found for 'no-such-host.invalid'.*ssh.hosts=n1=USER@"
    ):
        Connection(place).open()


def test_a_node_whose_host_nobody_named_is_refused_before_anything_is_connected(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def nobody(name: str, port: int) -> None:
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("foreshock.harness.backends.ssh.places.socket.getaddrinfo", nobody)
    options = SshOptions(config=config, hosts="n4=away.invalid")
    check_named(options, places_of(options, ["n1", "n2", "n3", "n4"]))
    assert asked == []  # they are named, or reached through another host
    options = SshOptions(config=config)
    places = places_of(options, ["n1", "n5"])
    with pytest.raises(UsageError, match=r"node n5: .*no address is found for 'n5'.*ssh.hosts=n5=USER@"):
        check_named(options, places)
    monkeypatch.setattr("foreshock.harness.backends.ssh.places.socket.getaddrinfo", lambda *_: [])
    check_named(options, places)


def _fields(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in place.__struct_fields__}


def test_the_backend_offers_what_it_names_a_mechanism_for() -> None:
    backend = SshBackend()
    assert backend.available() is None
    kinds = {kind.partition("/")[0] for kind in backend.mechanisms()}
    assert {"partition", "kill", "pause"} <= kinds
    assert {kind.__name__.lower() for kind in backend.offers()} >= {"partition", "kill", "pause"}


def test_nothing_is_cleaned_where_no_run_of_hosts_is_dead() -> None:
    assert SshBackend().clean(None) == []
    assert SshBackend().clean("no-such-run") == []


def test_secrets_have_no_field(config: str) -> None:
    """What another process gets to reach the hosts again names files of keys and holds none."""
    place = places_of(SshOptions(config=config), ["n1"])["n1"]
    words = itertools.chain(place.__struct_fields__, SshOptions.__struct_fields__)
    assert not {word for word in words if "pass" in word or "secret" in word}


def planned(**settings: Any) -> tuple[str, ...]:
    request = Request(backend="ssh", **settings)
    return resolve(request).plan.nodes


def test_nodes_bear_the_names_of_their_hosts() -> None:
    assert planned(nodes="db1.example.com,db_2") == ("db1.example.com", "db_2")
    assert planned(options={"ssh.hosts": "db1=10.0.0.1,db2=10.0.0.2"}) == ("db1", "db2")
    assert planned(nodes="db2", options={"ssh.hosts": {"db2": "10.0.0.2"}}) == ("db2",)
    assert planned() == ("n1", "n2", "n3", "n4", "n5")
    with pytest.raises(UsageError, match="dots and underscores of hosts"):
        planned(nodes="db1/2")
