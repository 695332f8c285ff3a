"""Runs that are sent from one machine to another: what is taken, what is refused, and what the documents say after."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from foreshock.harness.campaign import delivery
from foreshock.harness.campaign.delivery import TooLarge, lay_out, pack, receive, ship
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.request import Request
from foreshock.harness.store import RESULTS, TEST, read_json, write_json

REQUEST = Request(target="raft", workload="register", backend="sim", seed=3)


def run_in(folder: Path) -> Path:
    """What a small run looks like."""
    run = folder / "raft-register" / "20260101T000000-abcdef"
    (run / "nodes" / "n1").mkdir(parents=True)
    (run / "nodes" / "n1" / "node.log").write_text("started\n")
    write_json(
        run / TEST, {"run": run.name, "plan": {"target": "raft"}, "replay": "?", "directory": "/elsewhere"}
    )
    results = {
        "verdict": "valid", "exit": 0, "reason": "", "run": str(run), "seed": 3, "target": "raft",
        "workload": "register", "nemeses": [], "backend": "sim", "bug": None, "operations": {}, "faults": {},
        "checkers": {}, "harness_errors": [], "duration_s": 1.0, "interrupted": False, "complete": True, "replay": "?",
    }  # fmt: skip
    write_json(run / RESULTS, results)
    return run


def archive_of(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return zstandard.compress(sink.getvalue())


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_a_run_arrives_whole_and_says_where_it_is_now(tmp_path: Path) -> None:
    there = run_in(tmp_path / "there")
    (there / "nodes" / "link").symlink_to("/etc/passwd")
    store = tmp_path / "here"
    summary = receive(pack(there), "raft-register", store, REQUEST, {})
    run = Path(summary.run)
    assert run.parent == store / "raft-register"
    assert (store / "latest").resolve() == run.resolve()
    assert (run / "nodes" / "n1" / "node.log").read_text() == "started\n"
    assert not (run / "nodes" / "link").exists()
    assert read_json(run / RESULTS)["run"] == str(run)
    assert read_json(run / TEST)["run"] == run.name
    assert summary.replay.startswith("foreshock test --target raft")
    assert sorted(path.name for path in store.iterdir()) == ["latest", "raft-register"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: archive_of(("../../outside", b"x")),
        lambda: archive_of(("/tmp/outside", b"x")),
        lambda: archive_of(("a/../../outside", b"x")),
        lambda: archive_of(special("link", tarfile.SYMTYPE, "/etc"), ("link/passwd", b"x")),
        lambda: archive_of(special("hard", tarfile.LNKTYPE, "../../secret")),
        lambda: archive_of(special("pipe", tarfile.FIFOTYPE)),
        lambda: archive_of(special("device", tarfile.CHRTYPE)),
        lambda: archive_of(("test.json", b"{}"), ("test.json", b"{}")),
        lambda: b"no archive at all",
        lambda: zstandard.compress(b"no archive within"),
        lambda: archive_of(("test.json", b"{}"))[:-20],
        lambda: archive_of(("README", b"no run")),
    ],
    ids=[
        "parent", "absolute", "parent within", "through a link", "hard link", "pipe", "device", "twice", "garbage",
        "garbage within", "cut short", "no run",
    ],
)  # fmt: skip
def test_what_is_no_plain_file_of_a_run_is_refused_and_leaves_nothing(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    store = tmp_path / "deep" / "store"
    with pytest.raises(HarnessError):
        receive(make(), "raft-register", store, REQUEST, {})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_run_without_results_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    there = run_in(tmp_path / "there")
    (there / RESULTS).unlink()
    store = tmp_path / "store"
    with pytest.raises(HarnessError, match=r"results\.json is missing"):
        receive(pack(there), "raft-register", store, REQUEST, {})
    assert list(store.iterdir()) == []


def test_an_archive_that_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "UNPACKED_BYTES_MAX", 1 << 20)
    bomb = archive_of(("zeros", bytes(2 << 20)))
    assert len(bomb) < 4096
    with pytest.raises(HarnessError, match="holds more than"):
        receive(bomb, "raft-register", tmp_path, REQUEST, {})


def test_a_folder_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no name of a test's folder"):
        receive(pack(run_in(tmp_path / "there")), "../elsewhere", tmp_path / "here", REQUEST, {})


def test_a_folder_is_not_packed_beyond_its_bound(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    (run / "random").write_bytes(bytes((index * index * 31) % 251 for index in range(1 << 16)))
    with pytest.raises(TooLarge, match="packed, that are sent back"):
        pack(run, 100)


def test_files_of_the_user_are_shipped_by_their_content_and_named_again_as_they_were(tmp_path: Path) -> None:
    target, nemesis, schedule = tmp_path / "db.py", tmp_path / "bad.py", tmp_path / "plan.toml"
    checker = tmp_path / "slow.py"
    for number, file in enumerate((target, nemesis, schedule, checker)):
        file.write_text(f"{number}")
    request = Request(
        target=f"{target}:Db",
        nemesis=f"kill=2,{nemesis}:Bad=3",
        schedule=str(schedule),
        checker=f"statistics, {checker}:Slow",
        backend="sim",
        seed=1,
    )
    shipment = ship(request)
    assert shipment.request.target.startswith("shipped/")
    assert shipment.request.target.endswith("/db.py:Db")
    kill, bad = shipment.request.nemesis.split(",")
    assert (kill, bad.endswith("/bad.py:Bad=3")) == ("kill=2", True)
    assert shipment.request.checker is not None
    assert shipment.request.checker.startswith("statistics,shipped/")
    assert shipment.request.checker.endswith("/slow.py:Slow")
    assert set(shipment.originals.values()) == {str(target), str(nemesis), str(schedule), str(checker)}
    lay_out(shipment.files, tmp_path / "worker")
    for name, original in shipment.originals.items():
        assert (tmp_path / "worker" / name).read_bytes() == Path(original).read_bytes()
    target.write_text("changed")
    assert ship(request).request.target != shipment.request.target


def test_a_file_that_cannot_be_sent_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be sent to the workers: No such file"):
        ship(Request(target=f"{tmp_path / 'gone.py'}:Db"))


def test_shipped_files_stay_below_their_folder(tmp_path: Path) -> None:
    for name in ("../x/y.py", "shipped/../../y.py", "/etc/x/y", "shipped/y.py"):
        with pytest.raises(HarnessError, match="no name of a shipped file"):
            lay_out({name: b""}, tmp_path / "worker")
