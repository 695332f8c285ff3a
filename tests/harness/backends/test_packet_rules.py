"""The scripts of packet faults, and the life of the shaper by them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import until

from foreshock.harness.backends.on_hosts import packet_disciplines, packet_rules
from foreshock.harness.backends.on_hosts.packet_disciplines import HTB, NETEM, expressible, shape_in_kernel
from foreshock.harness.backends.process_identity import identify
from foreshock.harness.capabilities import LinkShape

SLOW = LinkShape(delay_us=50_000)

# Heeds its signals and keeps its files as the shaper does, and shapes nothing.
STAND_IN = """
import json, os, signal, sys
directory = sys.argv[1]
def write(name, text):
    with open(f"{directory}/{name}.new", "w") as file:
        file.write(text + "\\n")
    os.replace(f"{directory}/{name}.new", f"{directory}/{name}")
with open("/proc/self/stat") as file:
    write("process", f"{os.getpid()} {file.read().rpartition(')')[2].split()[19]}")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM])
while True:
    with open(f"{directory}/links") as file:
        wanted = json.load(file)
    if "fails" in wanted["links"].get("10.0.0.9", {}).get("distribution", ""):
        sys.exit("the queue 3845 of netfilter cannot be had: Operation not permitted")
    with open(f"{directory}/seen", "a") as file:
        file.write(f"{os.getpid()} {wanted['generation']} {','.join(sorted(wanted['links']))}\\n")
    if not wanted["links"]:
        os.unlink(f"{directory}/process")
    write("applied", str(wanted["generation"]))
    if not wanted["links"] or signal.sigwait([signal.SIGHUP, signal.SIGTERM]) == signal.SIGTERM:
        break
"""


class Place:
    """A directory of a shaper, and scripts that run here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "packet_shaper.py").write_text(STAND_IN)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
        )

    def shape(self, generation: int, **shapes: LinkShape) -> subprocess.CompletedProcess[str]:
        by_address = {f"10.0.0.{name.removeprefix('n')}": shape for name, shape in shapes.items()}
        return self.run(packet_rules.shape_in_user_space(str(self.directory), by_address, generation))

    def seen(self) -> list[list[str]]:
        return [line.split(" ") for line in (self.directory / "seen").read_text().splitlines()]

    def pid(self) -> int:
        return int((self.directory / "process").read_text().split()[0])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    directory = tmp_path / "a directory"
    directory.mkdir()
    place = Place(directory)
    yield place
    place.run(end_script(place))


def end_script(place: Place) -> str:
    """What of the undoing ends the process: the rules here are none of ours."""
    undo = packet_rules.undo(str(place.directory))
    return undo[undo.index("shaper()") :]


def test_a_shaper_is_started_once_then_told_and_ends_when_nothing_is_left(place: Place) -> None:
    assert place.shape(1, n2=SLOW).returncode == 0
    pid = place.pid()
    assert place.shape(2, n2=SLOW, n3=SLOW).returncode == 0
    assert place.shape(3).returncode == 0
    addresses = [["1", "10.0.0.2"], ["2", "10.0.0.2,10.0.0.3"], ["3", ""]]
    assert place.seen() == [[str(pid), *expected] for expected in addresses]
    assert not (place.directory / "process").exists()
    assert place.shape(4).returncode == 0  # nothing to let go of
    assert place.shape(5, n2=SLOW).returncode == 0
    assert place.seen()[-1][1:] == ["5", "10.0.0.2"]


def test_a_shaper_that_cannot_start_is_an_error_that_says_why(place: Place) -> None:
    (place.directory / "packet_shaper.py").write_text(
        "import sys; sys.exit('the queue 3845 of netfilter cannot be had: Operation not permitted')"
    )
    ended = place.shape(1, n2=SLOW)
    assert (ended.returncode, ended.stderr.strip()) == (
        1,
        "the queue 3845 of netfilter cannot be had: Operation not permitted",
    )


def test_undoing_ends_exactly_our_process_and_may_be_repeated(place: Place) -> None:
    place.shape(1, n2=SLOW)
    identity = identify(place.pid())
    assert identity is not None
    for _ in range(2):
        assert place.run(end_script(place)).returncode == 0
        assert identify(identity.pid) != identity
        assert not (place.directory / "process").exists()


def test_a_shaper_that_was_just_starting_when_all_was_undone_ends_by_itself(place: Place) -> None:
    waits = "import os, sys, time\nwhile not os.path.exists(f'{sys.argv[1]}/go'):\n    time.sleep(0.01)\n"
    (place.directory / "packet_shaper.py").write_text(
        f"open(f'{{__file__}}.pid', 'w').write('x')\n{waits}{STAND_IN}"
    )
    links = {"10.0.0.2": SLOW}
    script = packet_rules.shape_in_user_space(str(place.directory), links, 1)
    with subprocess.Popen(["/bin/sh", "-c", script], stderr=subprocess.PIPE) as starting:
        until((place.directory / "packet_shaper.py.pid").exists, "the shaper's process")
        assert place.run(end_script(place)).returncode == 0
        (place.directory / "go").touch()
        assert starting.wait(60) == 1  # it does not shape what it was told
    assert [words[1:] for words in place.seen()] == [["0", ""]]
    assert not (place.directory / "process").exists()


def test_a_process_that_only_has_the_pid_of_ours_is_left_alone(place: Place) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (place.directory / "process").write_text(f"{other.pid} 12345\n")
        assert place.run(end_script(place)).returncode == 0
        assert other.poll() is None
        assert place.shape(1, n2=SLOW).returncode == 0
        assert place.pid() != other.pid
    finally:
        other.communicate(b"\n", timeout=30)


# As much of iptables as the scripts use: rules are lines of a file for each table, whose first lines name chains.
IPTABLES = r"""
import os, sys
table = "filter"
arguments = sys.argv[1:]
while arguments and arguments[0] in ("-w", "-t", "-n"):
    if arguments[0] == "-t":
        table = arguments[1]
    del arguments[: 1 if arguments[0] == "-n" else 2]
path = os.path.join(os.environ["TABLES"], table)
lines = open(path).read().splitlines() if os.path.exists(path) else []
if os.path.basename(sys.argv[0]) == "iptables-restore":
    assert sys.argv[1:] == ["--wait", "5", "--noflush"], sys.argv
    for line in sys.stdin.read().splitlines():
        if line.startswith("*"):
            path = os.path.join(os.environ["TABLES"], line[1:])
            lines = open(path).read().splitlines() if os.path.exists(path) else []
        elif line.startswith(":"):
            chain = line[1:].split()[0]
            lines = [each for each in lines if each.split()[1] != chain] + [f"-N {chain}"]
        elif line.startswith("-A"):
            lines.append(line)
else:
    command, chain, *rest = arguments
    rule = " ".join(["-A", chain, *rest])
    if command == "-L":
        sys.exit(f"-N {chain}" not in lines)
    if command == "-C":
        sys.exit(rule not in lines)
    if command == "-I":
        lines.insert(0, " ".join(["-A", chain, *rest[1:]]))
    elif command == "-D":
        lines.remove(rule)
    elif command == "-F":
        lines = [line for line in lines if line.split()[:2] != ["-A", chain]]
    elif command == "-X":
        if any(line.split()[-2:] == ["-j", chain] for line in lines):
            sys.exit(1)
        lines.remove(f"-N {chain}")
with open(path, "w") as file:
    file.write("".join(line + "\n" for line in lines))
"""


class Firewall:
    """Tables in files, with rules that are not ours."""

    def __init__(self, directory: Path) -> None:
        self.tables = directory / "tables"
        self.tables.mkdir()
        self.programs = directory / "programs"
        self.programs.mkdir()
        for name in ("iptables", "iptables-restore"):
            program = self.programs / name
            program.write_text(f"#!{sys.executable} -IS\n{IPTABLES}")  # starts in a tenth of the time
            program.chmod(0o755)
        (self.programs / "tc").write_text("#!/bin/sh\n")
        (self.programs / "tc").chmod(0o755)
        self.theirs = {
            "mangle": "-A OUTPUT -d 10.0.0.9/32 -j MARK --set-mark 5\n-N THEIRS\n-A THEIRS -j DROP\n",
            "filter": "-A INPUT -s 10.0.0.9/32 -j DROP\n",
        }
        for table, text in self.theirs.items():
            (self.tables / table).write_text(text)

    def run(self, script: str) -> None:
        environment = {
            **os.environ,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "TABLES": str(self.tables),
        }
        ended = subprocess.run(
            ["/bin/sh", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")

    def table(self, name: str) -> str:
        return (self.tables / name).read_text()


@pytest.fixture
def firewall(tmp_path: Path) -> Firewall:
    return Firewall(tmp_path)


def test_packets_go_to_the_queue_from_a_chain_of_ours_that_is_replaced_as_a_whole(firewall: Firewall) -> None:
    firewall.run(packet_rules.queue(["10.0.0.2", "10.0.0.3"]))
    firewall.run(packet_rules.queue(["10.0.0.2"]))
    assert firewall.table("mangle").splitlines() == [
        "-A OUTPUT -j FORESHOCK-OUT",
        *firewall.theirs["mangle"].splitlines(),
        "-N FORESHOCK-OUT",
        "-A FORESHOCK-OUT -m mark --mark 0xf05e -j RETURN",
        "-A FORESHOCK-OUT -p udp -m udp --dport 19599 -j RETURN",
        "-A FORESHOCK-OUT -d 10.0.0.2/32 -j NFQUEUE --queue-num 3845 --queue-bypass",
    ]


def test_undoing_leaves_the_rules_of_others_as_they_were(firewall: Firewall, tmp_path: Path) -> None:
    everything = [
        packet_rules.queue(["10.0.0.2"]),
        packet_rules.break_names(),
        packet_rules.refuse_connections([("10.0.0.1:40000", "10.0.0.2:7000")]),
        packet_rules.undo(str(tmp_path)),
        packet_rules.undo(str(tmp_path)),
    ]
    for script in everything:
        firewall.run(script)
    assert {table: firewall.table(table) for table in firewall.theirs} == firewall.theirs


def test_connections_are_refused_both_ways_and_names_by_their_answers(firewall: Firewall) -> None:
    firewall.run(packet_rules.refuse_connections([("[::ffff:10.0.0.1]:40000", "10.0.0.2:7000")]))
    rules = firewall.table("filter")
    for packets in (
        "-s 10.0.0.1/32 -d 10.0.0.2/32 -p tcp -m tcp --sport 40000 --dport 7000",
        "-s 10.0.0.2/32 -d 10.0.0.1/32 -p tcp -m tcp --sport 7000 --dport 40000",
    ):
        assert f"-A FORESHOCK-RESET {packets} -j REJECT --reject-with tcp-reset\n" in rules
    firewall.run(packet_rules.stop_refusing())
    assert firewall.table("filter") == firewall.theirs["filter"]
    firewall.run(packet_rules.break_names())
    assert "-A FORESHOCK-NAMES -p udp -m udp --sport 53 -j DROP" in firewall.table("mangle")
    firewall.run(packet_rules.mend_names())
    firewall.run(packet_rules.mend_names())
    assert firewall.table("mangle") == firewall.theirs["mangle"]


@pytest.mark.parametrize("address", ["10.0.0.256", "n2; reboot", ""])
def test_what_is_no_address_gets_into_no_script(address: str) -> None:
    for script_of in (
        lambda: packet_rules.queue([address]),
        lambda: packet_rules.shape_in_user_space("/control", {address: SLOW}, 1),
        lambda: packet_disciplines.shape_in_kernel({address: SLOW}),
        lambda: packet_rules.look_up(address),
        lambda: packet_rules.kill_connections([(f"{address}:1", "10.0.0.2:2")]),
    ):
        with pytest.raises(ValueError, match=r"Expected 4 octets|not permitted|cannot be empty|Address"):
            script_of()


@pytest.mark.parametrize(
    ("shape", "by_htb", "by_netem"),
    [
        (LinkShape(rate_bytes_per_s=10_000), True, True),
        (SLOW, False, True),
        (LinkShape(delay_us=5, rate_bytes_per_s=10_000), False, True),
        (LinkShape(reorder_ppm=5, reorder_us=9), False, True),
        (LinkShape(reorder_ppm=5, reorder_us=9, delay_us=5), False, False),
    ],
)
def test_what_the_kernel_can_do_by_itself(shape: LinkShape, by_htb: bool, by_netem: bool) -> None:
    assert expressible(shape, frozenset()) is False
    assert expressible(shape, frozenset({NETEM})) is False
    assert expressible(shape, frozenset({HTB})) is by_htb
    assert expressible(shape, frozenset({HTB, NETEM})) is by_netem


def test_each_link_has_a_class_and_the_discipline_that_does_what_its_shape_says() -> None:
    shapes = {
        "10.0.0.3": LinkShape(
            delay_us=50_000, jitter_us=5_000, distribution="normal", loss_ppm=12_345, rate_bytes_per_s=64_000
        ),
        "10.0.0.2": LinkShape(reorder_ppm=250_000, reorder_us=20_000, duplicate_ppm=1, corrupt_ppm=1_000_000),
        "10.0.0.4": LinkShape(rate_bytes_per_s=32_000),
    }
    script = shape_in_kernel(shapes)
    classes = [line.partition('"$device" ')[2] for line in script.splitlines() if '"$device" parent' in line]
    assert classes == [
        "parent f05e: protocol ip prio 1 u32 match ip protocol 17 0xff match ip dport 19599 0xffff flowid f05e:0",
        "parent f05e: classid f05e:1 htb rate 10gbit quantum 60000",
        "parent f05e:1 netem limit 16384 delay 20000us reorder 75.0000% duplicate 0.0001% corrupt 100.0000%",
        "parent f05e: protocol ip prio 2 u32 match ip dst 10.0.0.2/32 flowid f05e:1",
        "parent f05e: classid f05e:2 htb rate 64000bps quantum 60000",
        "parent f05e:2 netem limit 16384 delay 50000us 5000us distribution normal loss 1.2345%",
        "parent f05e: protocol ip prio 2 u32 match ip dst 10.0.0.3/32 flowid f05e:2",
        "parent f05e: classid f05e:3 htb rate 32000bps quantum 60000",
        "parent f05e:3 bfifo limit 32000",
        "parent f05e: protocol ip prio 2 u32 match ip dst 10.0.0.4/32 flowid f05e:3",
    ]


def test_a_device_with_a_discipline_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    for name, body in {
        "ip": "echo '10.0.0.2 dev eth7 src 10.0.0.1 uid 0'",
        "tc": 'echo "$@" >> "$CALLS"; echo "qdisc fq 8001: dev eth7 root refcnt 2"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    ended = subprocess.run(
        ["/bin/sh", "-c", shape_in_kernel({"10.0.0.2": SLOW})],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "the device eth7 has a queueing discipline of its own\n")
    assert all(line.startswith("qdisc show") for line in calls.read_text().splitlines())


def test_a_name_is_looked_up_by_asking_for_our_own_address() -> None:
    script = packet_rules.look_up("10.0.0.7")
    assert script.startswith("python3 - 7 0 0 10 in-addr arpa <<")
    program = script.partition("<<'PROGRAM'\n")[2].removesuffix("PROGRAM\n")
    compile(textwrap.dedent(program), "look_up", "exec")
