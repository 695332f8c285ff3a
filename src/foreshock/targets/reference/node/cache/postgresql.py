"""The origin's table in PostgreSQL, over its own protocol (version 3.0) with nothing but the standard library.

One connection, used by the shell's syncing thread alone; a batch of jobs is one transaction, sent in one go. A session
holds an advisory lock for as long as it lives. So when a connection broke in the middle of a commit, the next one
begins only when the server has done with the last: what was in doubt is decided before anybody reads. It also keeps a
second origin from the table.

Each cluster has a schema of its own, which stays when the cluster is gone: what it holds is the user's to drop.

The password comes from ``PGPASSWORD``, or from the file that ``PGPASSFILE`` names (``~/.pgpass`` without it); it is in
no command line, and in no log. SCRAM-SHA-256 is RFC 5802 and 7677.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from foreshock.targets.reference.node.cache.batches import BatchDatabase, SyncingFiles
from foreshock.targets.reference.node.cache.database import Begin, Begun, Done, Job, Read, Row

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 10.0
_PROTOCOL: Final = 196_608
_MESSAGE_BYTES_MAX: Final = 1 << 26
_ITERATIONS_MAX: Final = 1_000_000
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_SCHEMA: Final = """
CREATE SCHEMA IF NOT EXISTS "{schema}";
SET search_path TO "{schema}";
CREATE TABLE IF NOT EXISTS foreshock_meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS foreshock_rows (key TEXT PRIMARY KEY, version BIGINT NOT NULL, value TEXT);
INSERT INTO foreshock_meta VALUES ('changes', 0), ('epoch', 0), ('lease_ms_max', 0) ON CONFLICT DO NOTHING;
"""
_BEGIN: Final = """
UPDATE foreshock_meta SET value = value + 1 WHERE name = 'epoch';
SELECT (SELECT value FROM foreshock_meta WHERE name = 'epoch'),
(SELECT value FROM foreshock_meta WHERE name = 'lease_ms_max');
UPDATE foreshock_meta SET value = greatest(value, {lease_ms}) WHERE name = 'lease_ms_max';
"""
_READ: Final = """
SELECT coalesce(kept.version, 0), meta.value, kept.value FROM foreshock_meta AS meta
LEFT JOIN foreshock_rows AS kept ON kept.key = {key} WHERE meta.name = 'changes';
"""
_WRITE: Final = """
UPDATE foreshock_meta SET value = value + 1 WHERE name = 'changes';
INSERT INTO foreshock_rows SELECT {key}, value, {value} FROM foreshock_meta WHERE name = 'changes'
ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value;
SELECT version, version, value FROM foreshock_rows WHERE key = {key};
"""


class PostgresProblem(Exception):
    """The server refused, or could not be reached; the text is a sentence without any secret."""


class DatabaseAddress(NamedTuple):
    """Where the database is, and who asks."""

    host: str
    port: int
    user: str
    database: str

    @classmethod
    def of(cls, url: str) -> DatabaseAddress:
        """From ``postgresql://USER@HOST:PORT/DATABASE``; raises ``ValueError`` with a sentence."""
        parts = urlsplit(url)
        if parts.password is not None:
            raise ValueError("the database's URL holds a password: put it into PGPASSWORD or PGPASSFILE")
        if parts.scheme != "postgresql" or not parts.hostname or not parts.username:
            raise ValueError(f"{url!r} names no database: write postgresql://USER@HOST:PORT/DATABASE")
        user = unquote(parts.username)
        return cls(parts.hostname, parts.port or 5432, user, unquote(parts.path.strip("/")) or user)

    def __str__(self) -> str:
        return f"the PostgreSQL database {self.database!r} at {self.host}:{self.port}"


class PostgresDatabase(BatchDatabase):
    """A table in a PostgreSQL database. A server that cannot be reached is tried again with every batch of jobs."""

    def __init__(
        self, files: SyncingFiles, url: str, *, cluster: str, environment: Mapping[str, str] = os.environ
    ) -> None:
        super().__init__(files)
        digest = hashlib.blake2b(cluster.encode(), digest_size=8).digest()
        self._lock = int.from_bytes(digest, "big", signed=True)
        self._schema = (
            "foreshock_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in cluster)[-50:]
        )
        self._target = DatabaseAddress.of(url)
        self._environment = environment
        self._session: Session | None = None

    def carry_out(self, batch: list[tuple[int, Job]]) -> list[Done]:
        """One transaction. When the server cannot be had, every job says so, and whether it was sent at all."""
        sent = False
        try:
            session = self._connected()
            sent = True
            return _carry_out(session, batch)
        except (PostgresProblem, OSError) as problem:
            self._disconnect()
            text = f"{self._target} does not serve: {problem}"
            return [Done(number, None, text, certain=not sent) for number, _ in batch]

    def _connected(self) -> Session:
        if self._session is None:
            session = Session(self._target)
            try:
                session.log_in(self._target, self._environment)
                session.query(f"SELECT pg_advisory_lock({self._lock});")
                session.query(_SCHEMA.format(schema=self._schema))
            except BaseException:
                session.close()
                raise
            self._session = session
        return self._session

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _carry_out(session: Session, batch: Sequence[tuple[int, Job]]) -> list[Done]:
    texts = [_sql(job) for _, job in batch]
    rows = iter(session.query("BEGIN;" + "".join(texts) + "COMMIT;"))
    return [Done(number, _result(job, rows)) for number, job in batch]


def _sql(job: Job) -> str:
    if isinstance(job, Begin):
        return _BEGIN.format(lease_ms=int(job.lease_ms_max))
    key = _literal(_encode(job.key))
    if isinstance(job, Read):
        return _READ.format(key=key)
    return _WRITE.format(key=key, value="NULL" if job.value is None else _literal(_encode(job.value)))


def _result(job: Job, rows: Iterator[list[str | None]]) -> Begun | Row:
    if isinstance(job, Begin):
        epoch, before = next(rows)
        return Begun(int(epoch or 0), int(before or 0))
    version, as_of, value = next(rows)
    return Row(int(version or 0), int(as_of or 0), None if value is None else json.loads(value))


def _literal(text: str) -> str:
    """JSON text as a string constant: it is ASCII, and holds no NUL (JSON writes that as an escape)."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


class Session:
    """One connection to a server."""

    def __init__(self, target: DatabaseAddress) -> None:
        self._socket = socket.create_connection((target.host, target.port), CONNECT_SECONDS)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def log_in(self, target: DatabaseAddress, environment: Mapping[str, str]) -> None:
        """Begin a session; raises :class:`PostgresProblem`."""
        words = ("user", target.user, "database", target.database, "application_name", "foreshock")
        body = struct.pack(">I", _PROTOCOL) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self._socket.sendall(struct.pack(">I", len(body) + 4) + body)
        scram: Scram | None = None
        while True:
            kind, data = self._receive()
            if kind == b"R":
                scram = self._authenticate(data, target, environment, scram)
            elif kind == b"Z":
                return

    def _authenticate(
        self, data: bytes, target: DatabaseAddress, environment: Mapping[str, str], scram: Scram | None
    ) -> Scram | None:
        (method,) = struct.unpack_from(">I", data)
        if method == 0:
            return scram
        password = find_password(target, environment)
        if password is None:
            raise PostgresProblem(
                "it wants a password: put it into PGPASSWORD, or a file that PGPASSFILE names"
            )
        if method == 3:
            self._send(b"p", password.encode() + b"\0")
        elif method == 5:
            inner = hashlib.md5((password + target.user).encode(), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + data[4:8], usedforsecurity=False).hexdigest()
            self._send(b"p", b"md5" + outer.encode() + b"\0")
        elif method == 10 and b"SCRAM-SHA-256" in data[4:].split(b"\0"):
            scram = Scram(password)
            first = scram.first()
            self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack(">I", len(first)) + first)
        elif method == 11 and scram is not None:
            self._send(b"p", scram.answer(data[4:]))
        elif method == 12 and scram is not None:
            scram.check(data[4:])
        else:
            raise PostgresProblem(f"it wants to authenticate by method {method}, which is not known here")
        return scram

    def query(self, text: str) -> list[list[str | None]]:
        """Run statements; returns the rows of all of them. Raises :class:`PostgresProblem` or ``OSError``."""
        self._send(b"Q", text.encode() + b"\0")
        rows: list[list[str | None]] = []
        while True:
            kind, data = self._receive()
            if kind == b"D":
                rows.append(_fields(data))
            elif kind == b"Z":
                return rows

    def _send(self, kind: bytes, data: bytes) -> None:
        self._socket.sendall(kind + struct.pack(">I", len(data) + 4) + data)

    def _receive(self) -> tuple[bytes, bytes]:
        header = self._file.read(5)
        if len(header) < 5:
            raise PostgresProblem("it has hung up")
        (length,) = struct.unpack_from(">I", header, 1)
        if not 4 <= length <= _MESSAGE_BYTES_MAX:
            raise PostgresProblem("it does not speak PostgreSQL's protocol")
        data = self._file.read(length - 4)
        if len(data) < length - 4:
            raise PostgresProblem("it has hung up")
        if header[:1] == b"E":
            raise PostgresProblem(_error_text(data))
        return header[:1], data


class Scram:
    """The client's side of SCRAM-SHA-256 without channel binding (RFC 5802, section 3)."""

    def __init__(self, password: str, nonce: str | None = None) -> None:
        self._password = password.encode()
        self._nonce = secrets.token_urlsafe(18) if nonce is None else nonce
        self._bare = f"n=,r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """The client-first-message; the server takes the user's name from the start of the session."""
        return f"n,,{self._bare}".encode()

    def answer(self, challenge: bytes) -> bytes:
        """The client-final-message; raises :class:`PostgresProblem` when the challenge is not to be trusted."""
        nonce, salt, iterations = _parts_of(challenge)
        if not nonce.startswith(self._nonce) or nonce == self._nonce or not 0 < iterations <= _ITERATIONS_MAX:
            raise PostgresProblem("its challenge makes no sense")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={nonce}"
        signed = f"{self._bare},{challenge.decode()},{final}".encode()
        proof = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        mixed = bytes(one ^ other for one, other in zip(key, proof, strict=True))
        return f"{final},p={base64.b64encode(mixed).decode()}".encode()

    def check(self, final: bytes) -> None:
        """Whether the server knows the password, too; raises :class:`PostgresProblem`."""
        if not hmac.compare_digest(final, b"v=" + base64.b64encode(self._signature)):
            raise PostgresProblem("it does not know the password itself, and so is not to be trusted")


def _parts_of(challenge: bytes) -> tuple[str, bytes, int]:
    """The nonce, the salt and the iterations of a server-first-message."""
    try:
        fields = dict(part.split("=", 1) for part in challenge.decode().split(",") if "=" in part)
        return fields["r"], base64.b64decode(fields["s"], validate=True), int(fields["i"])
    except (ValueError, KeyError):
        raise PostgresProblem("its challenge makes no sense") from None


def find_password(target: DatabaseAddress, environment: Mapping[str, str]) -> str | None:
    """The password, as libpq finds it: ``PGPASSWORD``, else the first line of the password file that fits."""
    if "PGPASSWORD" in environment:
        return environment["PGPASSWORD"]
    path = Path(environment.get("PGPASSFILE") or Path(environment.get("HOME", "/nonexistent")) / ".pgpass")
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    wanted = (target.host, str(target.port), target.database, target.user)
    for line in lines:
        fields = _split_line(line)
        if len(fields) == 5 and all(
            field in ("*", want) for field, want in zip(fields[:4], wanted, strict=True)
        ):
            return fields[4]
    return None


def _split_line(line: str) -> list[str]:
    """The fields of a line of a password file: separated by colons, a backslash takes the next one as it is."""
    fields, escaped = [""], False
    for character in line:
        if escaped or character not in "\\:":
            fields[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            fields.append("")
    return fields


def _fields(data: bytes) -> list[str | None]:
    (count,) = struct.unpack_from(">H", data)
    offset, fields = 2, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", data, offset)
        offset += 4
        fields.append(None if length < 0 else data[offset : offset + length].decode())
        offset += max(length, 0)
    return fields


def _error_text(data: bytes) -> str:
    parts = {part[:1]: part[1:].decode(errors="replace") for part in data.split(b"\0") if part}
    return f"{parts.get(b'M', 'an error')} ({parts.get(b'C', '?')})"
