"""How a run's folder gets from the machine on which it was made into our store, and a user's files to that machine.

A folder travels as a tar archive, compressed by Zstandard. What arrives is not trusted: only plain files are taken,
only below their own folder, and no more of them than is allowed. It is unpacked aside and put in its place whole.
"""

from __future__ import annotations

import hashlib
import html
import io
import os
import re
import secrets
import shlex
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec
import zstandard

from foreshock.harness.campaign.document import Attempt
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.request import Request
from foreshock.harness.store import RESULTS, TEST, Store, read_json, write_json
from foreshock.harness.summary import SUMMARY, TestSummary, read_summary

PACKED_BYTES_MAX: Final = 256 << 20
UNPACKED_BYTES_MAX: Final = 8 << 30
FILES_MAX: Final = 20_000
SHIPPED_BYTES_MAX: Final = 16 << 20
SHIPPED: Final = "shipped"
"""The folder, on the other machine, of the user's files."""
_LEVEL: Final = 3
_WINDOW_MAX: Final = 1 << 27
_NAME: Final = re.compile(r"[A-Za-z0-9.,+_-]{1,100}")
_PLUG_IN: Final = re.compile(r"[^,]+?\.py(?=:)")
_DOCUMENTS: Final = (TEST, RESULTS, SUMMARY)


class TooLarge(HarnessError):
    """A folder is larger than what is sent."""


class Shipment(msgspec.Struct, frozen=True):
    """A request as the other machine can understand it, with the files that it names."""

    request: Request
    files: Mapping[str, bytes]
    originals: Mapping[str, str]
    """The names of the files there, and what they are called here."""


def ship(request: Request) -> Shipment:
    """Take along the plug-ins that are files, and the schedule. Raises :class:`UsageError` for one that cannot be read.

    A file is named by its content there, so that a worker that is used again never takes an old one for a new one.
    """
    files: dict[str, bytes] = {}
    originals: dict[str, str] = {}

    def shipped(path: str) -> str:
        content = _content(path)
        name = f"{SHIPPED}/{hashlib.sha256(content).hexdigest()[:16]}/{Path(path).name}"
        files[name], originals[name] = content, path
        return name

    changes: dict[str, Any] = {}
    for field in ("target", "workload", "backend", "bug"):
        value = getattr(request, field)
        if value is not None and ".py:" in value:
            file, _, of_file = value.rpartition(":")
            changes[field] = f"{shipped(file)}:{of_file}"
    for field in ("nemesis", "checker"):
        if ".py:" in (listed := getattr(request, field) or ""):
            changes[field] = _PLUG_IN.sub(lambda match: shipped(match[0].strip()), listed)
    if request.schedule is not None:
        changes["schedule"] = shipped(request.schedule)
    return Shipment(msgspec.structs.replace(request, **changes), files, originals)


def lay_out(files: Mapping[str, bytes], folder: Path) -> None:
    """Put shipped files where the request names them; raises :class:`HarnessError` for a name that is none of ours."""
    for name, content in files.items():
        parts = PurePosixPath(name).parts
        if len(parts) != 3 or parts[0] != SHIPPED or ".." in parts:
            raise HarnessError(f"{name!r:.200} is no name of a shipped file")
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_name(f".{secrets.token_hex(4)}")
            scratch.write_bytes(content)
            scratch.replace(path)


def pack(run: Path, bytes_max: int = PACKED_BYTES_MAX) -> bytes:
    """The plain files of a folder; raises :class:`TooLarge` as soon as they are more than ``bytes_max`` packed."""
    sink = _Bounded(run, bytes_max)
    with (
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(sink, closefd=False) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as archive,
    ):
        for path in sorted(run.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.add(path, path.relative_to(run).as_posix(), recursive=False, filter=_nobodys)
    return sink.getvalue()


def receive(
    packed: bytes, test: str, store: Path, request: Request, originals: Mapping[str, str]
) -> TestSummary:
    """Put a run that was packed elsewhere into the store, and return its summary as it is there.

    Raises :class:`HarnessError` when it cannot be unpacked, holds what no run holds, or the disk does not take it.
    """
    if not _NAME.fullmatch(test):
        raise HarnessError(f"{test!r:.200} is no name of a test's folder")
    aside = store / f".arriving-{secrets.token_hex(6)}"
    try:
        aside.mkdir(parents=True)
        _unpack(packed, aside)
        run = Store(store).create(test)
        try:
            _relocate(aside, run, request, originals)
            aside.replace(run)
        except BaseException:
            Store(store).forget(run)
            raise
    except OSError as error:
        raise HarnessError(
            f"the store {store} does not take a run that was sent: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return read_summary(run)


def as_here(attempt: Attempt, request: Request, originals: Mapping[str, str]) -> Attempt:
    """An attempt whose run was not sent, with the user's files called what they are called here."""
    renamed = msgspec.convert(_with(msgspec.to_builtins(attempt), originals), Attempt)
    if renamed.summary is None:
        return renamed
    summary = msgspec.structs.replace(renamed.summary, replay=_replay(request, renamed.summary))
    return msgspec.structs.replace(renamed, summary=summary)


def _replay(request: Request, summary: TestSummary) -> str:
    return "foreshock test " + shlex.join(request.arguments(summary.backend, summary.seed))


class _Bounded(io.BytesIO):
    """Memory that takes so much and no more."""

    def __init__(self, run: Path, bytes_max: int) -> None:
        super().__init__()
        self._run = run
        self._bytes_max = bytes_max

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._bytes_max:
            raise TooLarge(
                f"the run's folder {self._run} is more than the {self._bytes_max >> 20} MiB, packed, that are sent back"
            )
        return super().write(data)


def _content(path: str) -> bytes:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - the text is the user's
        if size > SHIPPED_BYTES_MAX:
            raise UsageError(
                f"the file {path!r} has {size >> 20} MiB: no more than {SHIPPED_BYTES_MAX >> 20} are sent"
            )
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"the file {path!r} cannot be sent to the workers: {error.strerror}") from None


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _unpack(packed: bytes, folder: Path) -> None:
    total = 0
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX).stream_reader(io.BytesIO(packed))
        with reader, tarfile.open(fileobj=reader, mode="r|") as archive:
            for number, member in enumerate(archive):
                total += member.size
                if number >= FILES_MAX or total > UNPACKED_BYTES_MAX:
                    raise HarnessError(
                        f"a run that was sent holds more than {FILES_MAX} files or {UNPACKED_BYTES_MAX >> 30} GiB"
                    )
                _take(archive, member, folder)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise HarnessError(f"a run that was sent cannot be unpacked: {error}") from None


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    unsafe = name.is_absolute() or ".." in name.parts or "\0" in member.name or "\\" in member.name
    source = archive.extractfile(member) if member.isfile() and not unsafe and name.parts else None
    if source is None:
        raise HarnessError(f"a run that was sent holds {member.name!r:.200}, which is no plain file of a run")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(source, file)
    os.utime(path, (member.mtime, member.mtime))


def _relocate(folder: Path, run: Path, request: Request, originals: Mapping[str, str]) -> None:
    """Have the documents say where the run is now, and what the user's files are called here."""
    summary = read_summary(folder)
    there = str(read_json(folder / RESULTS).get("run", "")) or str(folder)
    changed = {there: str(run), **originals}
    replay = _replay(request, summary)
    for name in _DOCUMENTS:
        if (folder / name).is_file():
            document = _with(read_json(folder / name), changed)
            document["replay"] = replay
            if name == TEST:
                document |= {"run": run.name, "directory": str(Path.cwd())}
            write_json(folder / name, document)
    for page in folder.glob("*.html"):
        text = page.read_bytes()
        for old, new in changed.items():
            text = text.replace(html.escape(old).encode(), html.escape(new).encode())
        page.write_bytes(text)


def _with(value: Any, changed: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in changed.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, dict):
        return {_with(key, changed): _with(inner, changed) for key, inner in value.items()}
    return [_with(inner, changed) for inner in value] if isinstance(value, list) else value
