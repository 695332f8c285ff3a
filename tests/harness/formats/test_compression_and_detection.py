"""Files that are compressed, damaged, named wrongly, or in no format at all."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.harness.test_history import sample

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.formats import reading, streams
from foreshock.harness.formats.reading import detected, read_history
from foreshock.harness.formats.writing import write_history
from foreshock.harness.history import History
from foreshock.harness.registry import Kind, names

ENDINGS = (".jsonl", ".parquet", ".edn", ".csv")
LOG = "INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:read\t3\n"
COMPRESS = {
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]),
    "zstd": zstandard.compress,
    "two zstd frames": lambda data: zstandard.compress(data[:99]) + zstandard.compress(data[99:]),
    "zstd without its size": lambda data: zstandard.ZstdCompressor(
        write_content_size=False, write_checksum=True
    ).compress(data),
}


def plain(folder: Path, ending: str) -> bytes:
    write_history(sample(), folder / f"plain{ending}")
    return (folder / f"plain{ending}").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", COMPRESS)
def test_compressed_files_of_any_format_are_known_by_their_content(
    how: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "history.txt"
    path.write_bytes(COMPRESS[how](plain(tmp_path, ending)))
    assert list(read_history(path)) == list(sample())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("misleading", [*ENDINGS, ".edn.gz", ".log", ""])
def test_a_misleading_name_misleads_nobody(ending: str, misleading: str, tmp_path: Path) -> None:
    path = tmp_path / f"history{misleading}"
    path.write_bytes(plain(tmp_path, ending))
    assert list(read_history(path)) == list(sample())


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("ending", [*ENDINGS, ".log"])
def test_compressed_data_that_is_cut_off_or_damaged_is_one_sentence(
    how: str, ending: str, tmp_path: Path
) -> None:
    data = LOG.encode() * 50 if ending == ".log" else plain(tmp_path, ending)
    whole = COMPRESS[how](data)
    path = tmp_path / "history"
    name = {".jsonl": "foreshock", ".log": "etcd"}.get(ending, ending[1:])
    for cut in (5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UsageError, match="is compressed and ends too early: it was cut off"):
            read_history(path, name)
    path.write_bytes(whole[:12] + bytes(byte ^ 0x55 for byte in whole[12:]))
    with pytest.raises(UsageError, match=r"is compressed, but its data is damaged: |ends too early"):
        read_history(path, name)
    path.write_bytes(whole + b"and so on")
    with pytest.raises(UsageError, match=r"is compressed, but its data is damaged: |ends too early"):
        read_history(path, name)


@pytest.mark.parametrize("how", COMPRESS)
def test_a_line_in_a_compressed_file_is_named_by_its_number(how: str, tmp_path: Path) -> None:
    path = tmp_path / "history"
    for name, text in {
        "etcd": LOG * 5000 + "INFO  jepsen.util - 0\t:ok\t:read\t3\n",
        "edn": "; c\n" * 10000 + "]",
        "csv": "process,type,f\n" + "0,invoke,r\n0,info,r\n" * 4999 + "\n0,ok,r",
        "foreshock": "\n" * 10000 + "{}\n",
    }.items():
        path.write_bytes(COMPRESS[how](text.encode()))
        with pytest.raises(UsageError, match=r"line 10001\b"):
            read_history(path, name)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("name", [name for name in names(Kind.FORMATS) if name != "parquet"])
def test_what_unpacks_to_an_endless_line_is_refused_before_it_is_whole(
    how: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (streams, sys.modules["foreshock.harness.formats.edn"]):
        monkeypatch.setattr(module, "LINE_BYTES_MAX", 1 << 16)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(COMPRESS[how](b"{" + b'"' + b"x" * (1 << 25)))
    monkeypatch.setattr(streams, "_PACKED_BYTES", 16)
    taken = 0
    original = streams._Zstandard._unpack

    def unpack(self: Any) -> bytes:
        nonlocal taken
        unpacked = original(self)
        taken += len(unpacked)
        return unpacked

    monkeypatch.setattr(streams._Zstandard, "_unpack", unpack)
    with pytest.raises(
        UsageError, match=r"line 1: what begins here is longer than|line 1 is not comma|line 1: there is no"
    ):
        read_history(bomb, name)
    assert taken <= 1 << 22


def test_a_compressed_parquet_that_is_too_great_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SPOOLED_BYTES_MAX", 1 << 19)
    (tmp_path / "h").write_bytes(zstandard.compress(b"PAR1" + bytes(1 << 21)))
    with pytest.raises(UsageError, match="unpacks to more than"):
        read_history(tmp_path / "h")


# --- which format -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01\x02",
        b"hello",
        b"1,2,3\n",
        b"{}",
        b'{"a": 1}',
        b"[1 2 3]",
        b"{:a 1}",
        b"\xff\xfe\x00",
        b"[" * 5000,
        b'{"index"' * 600,
        b"<html>",
    ],
)
def test_what_is_in_no_format_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.edn").write_bytes(content)
    with pytest.raises(
        UsageError, match=r"x\.edn is in none of the known formats \(csv, edn, etcd, foreshock, kv"
    ):
        read_history(tmp_path / "x.edn")


def test_an_empty_file_is_what_its_name_says(tmp_path: Path) -> None:
    for name in ("h.jsonl", "h.edn"):
        (tmp_path / name).write_bytes(b"")
        assert len(read_history(tmp_path / name)) == 0
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b""))
        assert len(read_history(tmp_path / f"{name}.gz")) == 0
    (tmp_path / "h.log").write_bytes(b"")
    with pytest.raises(UsageError, match="is empty, so its format cannot be told: say --format"):
        read_history(tmp_path / "h.log")


def test_what_looks_like_two_formats_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy:
        name = "greedy"

        def detect(self, path: Path, head: bytes) -> bool:
            return True

    def load(kind: Kind, name: str) -> Any:
        if name == "broken":
            raise PlugInError("the format 'broken' does not import")
        return {"greedy": Greedy}.get(name) or original(kind, name)

    original = reading.load
    known = ["greedy", "etcd", "broken"]
    monkeypatch.setattr(reading, "load", load)
    monkeypatch.setattr(reading, "names", lambda kind: known)
    (tmp_path / "h").write_text(LOG)
    with pytest.raises(UsageError, match="looks like greedy and etcd: say which with --format"):
        read_history(tmp_path / "h")
    assert len(read_history(tmp_path / "h", "etcd")) == 1
    known.remove("greedy")
    assert detected(tmp_path / "h").name == "etcd"
    (tmp_path / "h").write_text("nothing")
    with pytest.raises(
        UsageError, match=r"in none of the known formats .*; besides, the format 'broken' does not"
    ):
        read_history(tmp_path / "h")


def test_the_forms_of_both_edn_and_key_value_logs_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "h"
    for text, name in {
        '{:f :get, :key "a", :type :invoke, :process 0}': "kv",
        "{:f :get, :key 1, :type :invoke, :process 0}": "edn",
        '{:f :read, :key "a", :type :invoke, :process 0}': "edn",
        "; long\n[#jepsen.history.Op{:value {:a {:b 1}} :f :read, :type :invoke, :process 0}": "edn",
        "\n[ ]\n": "edn",
    }.items():
        path.write_text(text)
        assert detected(path).name == name


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            UsageError, match=r"the history '.*' cannot be read: (Is a directory|No such file)"
        ):
            read_history(path)
        for name in names(Kind.FORMATS):
            with pytest.raises(UsageError, match="cannot be read"):
                read_history(path, name)


def test_what_a_file_does_not_need_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "h").write_text(LOG)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from foreshock.harness.formats.reading import read_history\n"
        "assert 'numpy' not in sys.modules\n"
        "assert len(read_history(Path(sys.argv[1]))) == 1\n"
        "heavy = {'pandas', 'pyarrow', 'numba', 'zstandard', 'gzip'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "h")], check=True, timeout=60)


def test_a_history_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reader asks for more than a piece of the text at a time."""
    asked: list[int] = []
    original = streams._Zstandard.readinto

    def readinto(self: Any, target: Any) -> int:
        asked.append(memoryview(target).nbytes)
        return original(self, target)

    monkeypatch.setattr(streams._Zstandard, "readinto", readinto)
    history: History | None = None
    for name, text in {
        "etcd": LOG * 40_000,
        "edn": "{:process 0, :type :invoke, :f :r, :value nil}\n{:process 0, :type :ok, :f :r, :value 1}\n"
        * 20_000,
        "csv": "process,type,f\n" + "0,invoke,r\n0,ok,r\n" * 20_000,
    }.items():
        (tmp_path / "h").write_bytes(zstandard.compress(text.encode()))
        history = read_history(tmp_path / "h", name)
        assert len(history) >= 20_000
    assert max(asked) <= streams.CHUNK_BYTES
