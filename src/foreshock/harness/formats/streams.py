"""The bytes of a history's file, unpacked where they are compressed (gzip or Zstandard), never whole in memory.

Compression is known by the first bytes, never by the name. What is wrong with the compressed data is told in one
sentence (:class:`UsageError`), and a line or a form that does not end is refused instead of being collected for ever.
"""

from __future__ import annotations

import codecs
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from foreshock.harness.errors import UsageError

if TYPE_CHECKING:
    import zstandard
    from _typeshed import WriteableBuffer

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTANDARD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
LINE_BYTES_MAX: Final = 1 << 26
"""The longest line, or form of several lines, that a history may have: 64 MiB."""
SPOOLED_BYTES_MAX: Final = 1 << 34
"""How much a compressed file that must be read out of order (Parquet) may unpack to on disk: 16 GiB."""
CHUNK_BYTES: Final = 1 << 18
"""How much is read at a time."""
_PACKED_BYTES: Final = 1 << 11
"""How much Zstandard is unpacked at a time. Four bytes can hold a block of 128 KiB, so this bounds a step to 64 MiB."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file for reading, unpacked where it is compressed.

    Raises :class:`UsageError` when the file cannot be opened or read, and when compressed data in it is cut off or
    damaged.
    """
    try:
        with path.open("rb") as file:
            magic = file.peek(4)
            if magic.startswith(GZIP_MAGIC):
                import gzip

                with io.BufferedReader(gzip.GzipFile(fileobj=file), CHUNK_BYTES) as unpacked:
                    yield unpacked
            elif magic.startswith(ZSTANDARD_MAGIC):
                with io.BufferedReader(_Zstandard(file), CHUNK_BYTES) as unpacked:
                    yield unpacked
            else:
                yield file
    except EOFError:
        raise UsageError(f"{path} is compressed and ends too early: it was cut off") from None
    except zlib.error as error:
        raise UsageError(f"{path} is compressed, but its data is damaged: {error}") from None
    except OSError as error:
        if error.errno is None:  # gzip's own complaints
            raise UsageError(f"{path} is compressed, but its data is damaged: {error}") from None
        raise UsageError(f"the history {str(path)!r} cannot be read: {error.strerror}") from None


class _Zstandard(io.RawIOBase):
    """Frames of Zstandard, one after the other, unpacked as they are read.

    Not the library's own stream reader: that one takes a file that was cut off for one that ends.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        import zstandard

        self._make = zstandard.ZstdDecompressor
        self._error = zstandard.ZstdError
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        while not self._ready:
            if not self._packed:
                self._packed = self._file.read(_PACKED_BYTES)
                if not self._packed:
                    if self._frame is not None:
                        raise EOFError
                    return 0
            self._ready = memoryview(self._unpack())
        view = memoryview(target).cast("B")
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self) -> bytes:
        if self._frame is None:
            self._frame = self._make().decompressobj()
        packed, self._packed = self._packed, b""
        try:
            unpacked = self._frame.decompress(packed)
        except self._error as error:
            raise OSError(str(error)) from None
        if self._frame.eof:
            self._packed = self._frame.unused_data
            self._frame = None
        return unpacked


def head_of(path: Path, size: int) -> bytes:
    """The first bytes of a file, unpacked; raises :class:`UsageError` when it cannot be read."""
    with opened(path) as file:
        return file.read(size)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends; raises :class:`UsageError` as :func:`opened` does, and for one too long."""
    with opened(path) as file:
        read_line = file.readline
        number = 0
        while line := read_line(LINE_BYTES_MAX):
            number += 1
            if len(line) == LINE_BYTES_MAX:
                raise too_long(path, number)
            yield line


def texts(path: Path, errors: str = "strict") -> Iterator[str]:
    """The text of a file in pieces of some size, cut anywhere.

    Raises :class:`UsageError` as :func:`opened` does, and names the line that is no UTF-8 (under ``strict``).
    """
    decode = codecs.getincrementaldecoder("utf-8-sig")(errors).decode
    line = 1
    with opened(path) as file:
        chunk = b"."
        while chunk:
            chunk = file.read(CHUNK_BYTES)
            try:
                text = decode(chunk, not chunk)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise UsageError(f"{path}, line {line} is not UTF-8: {error.reason}") from None
            if text:
                yield text
                line += text.count("\n")


def blocks(path: Path, errors: str = "strict") -> Iterator[tuple[int, str]]:
    """The text of a file in pieces of whole lines, each with the number of its first line.

    Raises :class:`UsageError` as :func:`texts` does, and for a line that is too long.
    """
    number, rest = 1, ""
    for text in texts(path, errors):
        end = text.rfind("\n") + 1
        if not end:
            rest += text
            if len(rest) > LINE_BYTES_MAX:
                raise too_long(path, number)
            continue
        block = rest + text[:end]
        rest = text[end:]
        yield number, block
        number += block.count("\n")
    if rest:
        yield number, rest


def too_long(path: Path, line: int) -> UsageError:
    """The error of a line, or of a form that begins in it, that does not end in reasonable time."""
    return UsageError(f"{path}, line {line}: what begins here is longer than {LINE_BYTES_MAX >> 20} MiB")


@contextmanager
def seekable(path: Path) -> Iterator[IO[bytes]]:
    """The file for reading in any order: itself, or unpacked into a temporary file.

    Raises :class:`UsageError` as :func:`opened` does, and for a file that unpacks to an unreasonable size.
    """
    with opened(path) as file:
        if isinstance(getattr(file, "raw", None), io.FileIO):
            yield file
            return
        with tempfile.TemporaryFile() as spooled:
            while chunk := file.read(CHUNK_BYTES):
                spooled.write(chunk)
                if spooled.tell() > SPOOLED_BYTES_MAX:
                    raise UsageError(
                        f"{path} unpacks to more than {SPOOLED_BYTES_MAX >> 30} GiB: unpack it yourself"
                    )
            spooled.seek(0)
            yield spooled


def packed(path: Path, plain: Path, suffix: str) -> None:
    """Write the bytes of the file ``plain`` to ``path``, compressed as ``.gz`` or ``.zst`` says.

    Raises ``OSError`` when it cannot be written.
    """
    with plain.open("rb") as source, path.open("wb") as target:
        if suffix == ".gz":
            import gzip

            # No name and no time: the same history makes the same file.
            with gzip.GzipFile("", "wb", 6, target, mtime=0) as writer:
                shutil.copyfileobj(source, writer, CHUNK_BYTES)
        else:
            import zstandard

            zstandard.ZstdCompressor(level=6).copy_stream(source, target)
