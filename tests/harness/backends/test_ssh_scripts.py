"""The scripts of the ssh backend, run by this machine's own shell."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.harness.backends.shell_protocol import OUTPUT_BYTES_MAX, STDERR, STDOUT, ShellExchange
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.errors import DeployError, HarnessError

RUN = "scripts-of-a-test"
# Says that it is up by what it was given, starts a child that stays in its group, and waits.
COMMAND = ("sh", "-c", 'echo "$GREETING"; sleep 600 & echo $! > child; wait')


def sh(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    run = f"{RUN}-{os.getpid()}"
    base = tmp_path / "foreshock"
    assert sh(node_scripts.claim(str(base), run)).returncode == 0
    yield base / run
    assert sh(end_all(base, run)).returncode == 0
    assert not base.exists()


def end_all(base: Path, run: str) -> str:
    return node_scripts.end_processes(run) + node_scripts.remove_files(str(base), run)


def prepared(base: Path, command: tuple[str, ...] = COMMAND) -> str:
    folder = base / "n1"
    assert sh(node_scripts.make_folders(str(folder))).returncode == 0
    (folder / "start").write_text(node_scripts.start_file(command))
    (folder / "supervise").write_text(node_scripts.supervise_file())
    (folder / "environment").write_text(
        node_scripts.environment_file({"GREETING": "it's up; $(ls)"}, base.name)
    )
    return str(folder)


def start(folder: str, base: Path) -> None:
    done = sh(node_scripts.start(folder, base.name))
    assert (done.returncode, done.stderr) == (0, "")


def state(folder: str) -> list[str]:
    return sh(node_scripts.state(folder)).stdout.split()


def await_state(folder: str, wanted: str) -> list[str]:
    deadline = time.monotonic() + 30
    while (found := state(folder))[0] != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def await_end(pid: int) -> None:
    deadline = time.monotonic() + 30
    while not has_ended(pid):
        assert time.monotonic() < deadline, pid
        time.sleep(0.01)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def await_file(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text()


def test_a_node_is_started_once_stopped_resumed_and_killed_with_its_children(base: Path) -> None:
    folder = prepared(base)
    assert state(folder) == ["absent"]
    start(folder, base)
    running = state(folder)
    assert running[0] == "running"
    start(folder, base)
    assert state(folder) == running
    child = int(await_file(Path(folder) / "data/child"))
    assert await_file(Path(folder) / "node.log") == "it's up; $(ls)\n"
    for _ in range(2):
        assert sh(node_scripts.pause(folder)).returncode == 0
        assert state(folder) == ["paused", running[1]]
    for _ in range(2):
        assert sh(node_scripts.resume(folder)).returncode == 0
        assert state(folder) == running
    for _ in range(2):
        assert sh(node_scripts.kill(folder)).returncode == 0
    assert await_state(folder, "ended") == ["ended", "137"]
    assert node_scripts.exit_words("137") == "signal 9"
    await_end(child)
    start(folder, base)
    assert state(folder)[0] == "running"
    assert state(folder) != running


def test_how_a_node_ended_by_itself_is_told(base: Path) -> None:
    folder = prepared(base, ("sh", "-c", "echo the disk is upside down >&2; exit 7"))
    start(folder, base)
    assert await_state(folder, "ended") == ["ended", "7"]
    assert node_scripts.exit_words("7") == "exit status 7"
    assert sh(node_scripts.tail(folder, 5)).stdout == "down\n"
    for script in (node_scripts.kill, node_scripts.pause, node_scripts.resume):
        assert sh(script(folder)).returncode == 0


def test_a_command_that_is_not_there_is_an_end_like_any_other(base: Path) -> None:
    folder = prepared(base, ("no-such-program",))
    start(folder, base)
    assert await_state(folder, "ended")[1] == "127"
    assert "no-such-program" in sh(node_scripts.tail(folder, 1000)).stdout


@pytest.mark.parametrize("field", [1, 2])
def test_a_stranger_with_the_pid_of_a_node_is_left_alone(base: Path, field: int) -> None:
    """Another start time, or another boot, is another process."""
    folder = prepared(base)
    start(folder, base)
    process = Path(folder) / "process"
    words = process.read_text().split()
    pid = int(words[0])
    words[field] = words[field] + "1"
    process.write_text(" ".join(words) + "\n")
    for script in (node_scripts.kill, node_scripts.pause):
        assert sh(script(folder)).returncode == 0
    assert state(folder) == ["absent"]
    os.kill(pid, 0)
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZX"


def test_what_stands_is_ended_and_all_is_removed_also_what_left_its_group(base: Path) -> None:
    folder = prepared(
        base, ("sh", "-c", "setsid sleep 600 & echo $! > away; GREETING=none setsid sleep 600 & wait")
    )
    start(folder, base)
    away = int(await_file(Path(folder) / "data/away"))
    sh(node_scripts.pause(folder))
    said = sh(end_all(base.parent, base.name)).stdout
    assert f"ended process {away}\n" in said
    assert f"removed {base}\n" in said
    assert not base.parent.exists()
    assert sh(end_all(base.parent, base.name)).stdout == ""
    for script in (node_scripts.kill, node_scripts.pause, node_scripts.resume):
        assert sh(script(folder)).returncode == 0
    assert state(folder) == ["absent"]
    done = sh(node_scripts.start(folder, base.name))
    assert (done.returncode, done.stderr) == (1, "its folder is gone\n")


def test_a_host_carries_one_run_and_lets_only_that_one_go(base: Path) -> None:
    other = sh(node_scripts.claim(str(base.parent), "another"))
    assert (other.returncode, other.stdout) == (node_scripts.CLAIMED, f"{base.name}\n")
    assert sh(node_scripts.claimed_by(str(base.parent))).stdout == f"{base.name}\n"
    assert (
        sh(
            node_scripts.end_processes("another") + node_scripts.remove_files(str(base.parent), "another")
        ).returncode
        == 0
    )
    assert sh(node_scripts.claimed_by(str(base.parent))).stdout == f"{base.name}\n"
    assert base.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "foreshock").symlink_to(tmp_path)
    done = sh(node_scripts.claim(str(tmp_path / "foreshock"), "r"))
    assert (done.returncode, done.stderr) == (1, "it is not a folder of this user\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreshock"]


def test_variables_with_names_that_no_shell_takes_are_refused() -> None:
    with pytest.raises(DeployError, match="'A-B' cannot be set"):
        node_scripts.environment_file({"A-B": "1"}, "r")


def test_what_two_streams_bring_is_put_together_whatever_comes_first() -> None:
    exchange = ShellExchange("echo out; printf err >&2; exit 3", "n1")
    done = subprocess.run(["/bin/sh"], input=exchange.request, capture_output=True, timeout=30, check=True)
    for place in range(len(done.stderr)):
        exchange.feed(STDERR, done.stderr[place : place + 1])
    assert not exchange.ended
    exchange.feed(STDOUT, done.stdout)
    assert exchange.ended
    result = exchange.result()
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err")


def test_a_script_that_says_too_much_is_cut_off() -> None:
    exchange = ShellExchange("yes", "n1")
    with pytest.raises(HarnessError, match="node n1 says more than"):
        exchange.feed(STDOUT, b"y" * (OUTPUT_BYTES_MAX + 1))


def test_probes_start_again_where_earlier_ones_were(base: Path, unused_udp_port: int) -> None:
    program = Path(node_scripts.__file__).parents[1] / "docker" / "pod_init.py"
    (base / "probe.py").write_bytes(program.read_bytes())
    for _ in range(2):
        done = sh(node_scripts.probe(str(base), base.name, unused_udp_port))
        assert (done.returncode, done.stderr) == (0, "")
        commands = base / "probe/commands"
        commands.write_text("send hello 127.0.0.1\n")
        assert await_file(base / "probe/heard") == "hello\n"
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                mine = str(base / "probe").encode() in file.read_bytes()
            except OSError:
                continue
            if mine:
                os.kill(int(file.parent.name), signal.SIGKILL)


@pytest.fixture
def unused_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_a_probe_that_cannot_have_its_port_says_so(base: Path, unused_udp_port: int) -> None:
    program = Path(node_scripts.__file__).parents[1] / "docker" / "pod_init.py"
    (base / "probe.py").write_bytes(program.read_bytes())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", unused_udp_port))
        done = sh(node_scripts.probe(str(base), base.name, unused_udp_port))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
