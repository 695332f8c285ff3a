"""The real memory: mapped files, and a lock that the kernel frees when its holder is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.targets.reference.node.conftest import MemoryFiles

from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.shm_lock.knobs import ShmLockKnobs
from foreshock.targets.reference.node.shm_lock.memory import CELL_BYTES
from foreshock.targets.reference.node.shm_lock.shared_memory import MappedFiles

HOLDER = """
import sys
from pathlib import Path
from foreshock.targets.reference.node.shm_lock.shared_memory import MappedFiles
memory = MappedFiles(Path(sys.argv[1]), cells_max=10)
assert memory.try_lock("cell")
memory.write("cell", 5, b"mine")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MappedFiles]:
    made = MappedFiles(tmp_path / "shared", cells_max=2)
    yield made
    made.close()


def test_a_new_cell_is_all_zeros_and_what_is_written_is_read_by_the_next_holder(memory: MappedFiles) -> None:
    assert memory.try_lock("cell")
    assert memory.read("cell") == bytes(CELL_BYTES)
    memory.write("cell", 3, b"abc")
    memory.unlock("cell")
    other = MappedFiles(memory._directory, cells_max=2)
    assert other.try_lock("cell")
    assert other.read("cell")[:6] == b"\0\0\0abc"
    other.close()


def test_a_cell_that_is_held_is_refused_without_waiting_and_others_are_not(memory: MappedFiles) -> None:
    other = MappedFiles(memory._directory, cells_max=2)
    assert other.try_lock("cell")
    assert not memory.try_lock("cell")
    assert memory.try_lock("another")
    other.unlock("cell")
    assert memory.try_lock("cell")


def test_the_kernel_frees_what_a_killed_holder_held_and_its_words_are_left(memory: MappedFiles) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(memory._directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    assert not memory.try_lock("cell")
    holder.kill()
    holder.wait(20)
    assert memory.try_lock("cell")
    assert memory.read("cell")[5:9] == b"mine"
    holder.stdout.close()
    holder.stdin.close()


def test_a_holder_that_died_before_the_cell_had_its_length_leaves_it_to_the_next(memory: MappedFiles) -> None:
    (memory._directory / "cell.cell").write_bytes(b"")
    assert memory.try_lock("cell")
    assert memory.read("cell") == bytes(CELL_BYTES)


def test_there_are_so_many_cells_and_no_more(memory: MappedFiles) -> None:
    for name in ("one", "two"):
        assert not memory.is_full(name)
        assert memory.try_lock(name)
    assert memory.is_full("three")
    assert not memory.is_full("one")


def test_a_system_that_is_full_or_refuses_the_mapping_says_so_and_leaves_the_cell_free(
    memory: MappedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("os.posix_fallocate", "mmap.mmap"):
        with monkeypatch.context() as patched:
            patched.setattr(call, refuse)
            with pytest.raises(OSError, match="No space left"):
                memory.try_lock("cell")
        assert (memory._directory / "cell.cell").stat().st_size in (0, CELL_BYTES)
    assert memory.try_lock("cell")


def test_an_agent_runs_on_the_directory_that_it_is_told(tmp_path: Path) -> None:
    knobs = ShmLockKnobs(shared_directory=str(tmp_path / "here"))
    agent = build_program(
        NodeConfiguration("n1", ("n1",), "shm-lock", knobs), MemoryFiles(), lambda bits: 0, 0
    )
    (_, reply), *_ = agent.on_request(1, {"body": {"type": "acquire", "key": "k"}}, 0).replies
    assert reply["body"]["token"] == 1
    assert [path.suffix for path in (tmp_path / "here").iterdir()] == [".cell"]
    agent.on_close(1, 0)
