"""One connection to a host, kept open: checked against the known host keys, used by key or agent, never by password.

Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import paramiko
from paramiko.hostkeys import InvalidHostKey

from foreshock.harness.backends.ssh.places import Place, unknown
from foreshock.harness.backends.ssh.shell import RemoteShell
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult

KEEPALIVE_S: Final = 5
_LOG_CHANNEL: Final = "foreshock.ssh.transport"
_USUAL_KEYS: Final = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
# sbin is not on every user's path, and there is what faults are made of.
_SHELL: Final = "exec {sudo}/bin/sh -c 'PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\" LC_ALL=C exec /bin/sh'"

# The library reports each lost connection by a traceback of its own thread; what it means is said here.
logging.getLogger(_LOG_CHANNEL).setLevel(logging.CRITICAL + 1)


class ConnectionLost(HarnessError):
    """The host cannot be reached, now or any more; another attempt may succeed."""


class HostKeyError(HarnessError):
    """The host is not the one that is known by this name; no attempt may be made again."""


class SudoError(HarnessError):
    """The host does not let us do what only root may do."""


class Connection:
    """The connection to one host, with a shell kept open on it, and one of root's where that is asked for."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.is_root = False
        """Whether the user is root anyway; known once somebody looked."""
        self._client: paramiko.SSHClient | None = None
        self._shells: dict[bool, RemoteShell] = {}
        self._locks = {False: threading.Lock(), True: threading.Lock()}
        self._files = threading.Lock()
        self._sftp: paramiko.SFTPClient | None = None

    @property
    def active(self) -> bool:
        """Whether the connection is open as far as this side knows."""
        transport = None if self._client is None else self._client.get_transport()
        return transport is not None and transport.is_active()

    @property
    def uses_sudo(self) -> bool:
        """Whether what only root may do is done by sudo."""
        return not self.is_root or self.place.sudo == "always"

    def open(self) -> None:
        """Connect; raises :class:`ConnectionLost`, :class:`HostKeyError` or another ``HarnessError``."""
        self.close()
        place = self.place
        client = paramiko.SSHClient()
        client.set_log_channel(_LOG_CHANNEL)
        client.set_missing_host_key_policy(_Refuse())
        _load_known_hosts(client, place)
        timeout_s = place.connect_timeout_ms / 1000
        keys: Any = [file for file in place.identities if Path(file).is_file()]
        try:
            client.connect(
                place.key_name,
                port=place.key_port,
                sock=_reach(place, timeout_s),
                username=place.user,
                key_filename=keys,
                allow_agent=not place.only_identities or bool(_locked(place)),
                look_for_keys=not place.identities,
                timeout=timeout_s,
                banner_timeout=timeout_s,
                auth_timeout=timeout_s,
                channel_timeout=timeout_s,
            )
        except Exception as error:
            reached = client.get_transport()
            # Once keys are exchanged all that is left is to be let in; what a key file is not is said there, too.
            at_the_door = reached is not None and reached.is_active() and not _is_late(error)
            client.close()
            raise explained(place, error, at_the_door=at_the_door) from error
        transport = client.get_transport()
        if transport is not None:
            transport.set_keepalive(KEEPALIVE_S)
        self._client = client

    def run(self, script: str, timeout_ms: int, *, root: bool = False) -> HostResult:
        """Run a script to its end; raises ``HarnessError``. One script at a time for each of the two shells."""
        root = root and self.uses_sudo
        with self._locks[root]:
            try:
                if root not in self._shells:
                    self._shells[root] = self._open_shell(root=root)
                return self._shells[root].run(script, timeout_ms)
            except HarnessError:
                self._drop(root)
                raise

    def idle(self) -> bool:
        """Whether no script of the user's own shell is under way."""
        return not self._locks[False].locked()

    def upload(self, data: bytes, path: str, mode: int) -> None:
        """Write a file, whole or not at all; raises ``HarnessError``."""
        with self._files, _explaining(self.place, f"{path} cannot be written"):
            sftp = self._open_sftp()
            scratch = f"{path}.foreshock"
            with sftp.open(scratch, "wb") as file:
                sftp.chmod(scratch, mode)
                file.set_pipelined(True)
                file.write(data)
            sftp.posix_rename(scratch, path)

    def download(self, path: str, destination: Path, limit_bytes: int) -> None:
        """Fetch a file, or its last ``limit_bytes``; raises ``HarnessError``."""
        with self._files, _explaining(self.place, f"{path} cannot be fetched"):
            sftp = self._open_sftp()
            with sftp.open(path, "rb") as file, destination.open("wb") as writer:
                size = file.stat().st_size or 0
                start = max(0, size - limit_bytes)
                file.seek(start)
                file.prefetch(size)
                remaining = size - start
                while remaining and (chunk := file.read(min(1 << 18, remaining))):
                    writer.write(chunk)
                    remaining -= len(chunk)

    def close(self) -> None:
        """Close the connection and all on it; idempotent."""
        for shell in list(self._shells.values()):
            shell.close()
        self._shells.clear()
        self._sftp = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def _drop(self, root: bool) -> None:
        shell = self._shells.pop(root, None)
        if shell is not None:
            shell.close()

    def _transport(self) -> paramiko.Transport:
        transport = None if self._client is None else self._client.get_transport()
        if transport is None or not transport.is_active():
            raise ConnectionLost(f"the connection to the host of node {self.place.node} is lost")
        return transport

    def _open_shell(self, *, root: bool) -> RemoteShell:
        place = self.place
        if root and place.sudo == "never":
            raise SudoError(
                f"only root may do this on the host of node {place.node}, the user {place.user} is not root, and "
                "ssh.sudo is never: let it be auto, or log in as root"
            )
        command = _SHELL.format(sudo="sudo -n " if root else "")
        shell = RemoteShell(self._transport(), command, place.node, place.connect_timeout_ms)
        if root:
            try:
                asked = shell.run("id -u", place.connect_timeout_ms)
            except HarnessError as error:
                shell.close()
                raise SudoError(
                    f"sudo on the host of node {place.node} does not let the user {place.user} run commands as root "
                    f"without a password ({error}): allow it (NOPASSWD in /etc/sudoers.d), or log in as root"
                ) from error
            if asked.stdout.strip() != "0":
                shell.close()
                raise SudoError(f"sudo on the host of node {place.node} does not make {place.user} root")
        return shell

    def _open_sftp(self) -> paramiko.SFTPClient:
        if self._sftp is None or self._sftp.sock.closed:
            self._sftp = paramiko.SFTPClient.from_transport(self._transport())
        if self._sftp is None:
            raise ConnectionLost(f"the host of node {self.place.node} opens no channel for files")
        self._sftp.get_channel().settimeout(self.place.connect_timeout_ms / 1000)  # type: ignore[union-attr]
        return self._sftp


class _Refuse(paramiko.MissingHostKeyPolicy):
    """No host is let in whose key is not known."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        raise _UnknownHostKey(key)


class _UnknownHostKey(Exception):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__()
        self.key = key


def _load_known_hosts(client: paramiko.SSHClient, place: Place) -> None:
    for file in place.known_hosts:
        try:
            client.load_system_host_keys(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HarnessError(f"the known host keys in {file} cannot be read: {error.strerror}") from error
        except (InvalidHostKey, ValueError) as error:
            why = str(error.args[0] if error.args else error).strip()
            raise HarnessError(
                f"the known host keys in {file} cannot be understood ({why:.200}): mend or remove that line"
            ) from error


def _reach(place: Place, timeout_s: float) -> socket.socket | paramiko.ProxyCommand:
    if place.proxy is not None:
        return paramiko.ProxyCommand(place.proxy)
    reached = socket.create_connection((place.hostname, place.port), timeout_s)
    reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reached


def _locked(place: Place) -> list[str]:
    """The files of private keys that a passphrase locks."""
    usual = tuple(str(Path(file).expanduser()) for file in _USUAL_KEYS)
    return [file for file in place.identities or usual if _is_locked(file)]


def _is_locked(file: str) -> bool:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            kind.from_private_key_file(file)
        except paramiko.PasswordRequiredException:
            return True
        except (OSError, paramiko.SSHException):
            continue  # not there, or of another kind
        return False
    return False


@contextlib.contextmanager
def _explaining(place: Place, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise HarnessError(f"{what} on the host of node {place.node}: {why}") from error


def explained(place: Place, error: Exception, *, at_the_door: bool = False) -> HarnessError:
    """What went wrong when connecting, in one sentence with the mend."""
    who = f"the host of node {place.node} ({place.shown})"
    scan = shlex.join(["ssh-keyscan", "-p", str(place.port), place.hostname])
    file = place.known_hosts[0] if place.known_hosts else "~/.ssh/known_hosts"
    match error:
        case _UnknownHostKey():
            key = error.key
            return HostKeyError(
                f"the key of {who} is not known: see that it is {key.get_name()} {key.fingerprint}, then add it "
                f"({scan} >> {shlex.quote(file)})"
            )
        case paramiko.BadHostKeyException():
            shown, known = error.key, error.expected_key
            return HostKeyError(
                f"the key of {who} has changed: {known.get_name()} {known.fingerprint} is known, and it shows "
                f"{shown.get_name()} {shown.fingerprint}: somebody may be in between, so nothing was deployed; if it "
                f"was set up anew, forget the old key (ssh-keygen -R {shlex.quote(place.known_as)} "
                f"-f {shlex.quote(file)})"
            )
        case socket.gaierror():
            return ConnectionLost(unknown(place))
        case paramiko.SSHException() if at_the_door or isinstance(error, paramiko.AuthenticationException):
            return HarnessError(f"{who} lets nobody in with the keys that are here{_hint(place)}")
        case TimeoutError() | paramiko.SSHException() if _is_late(error):
            return ConnectionLost(f"{who} does not answer within {place.connect_timeout_ms / 1000:g} s")
        case OSError():
            return ConnectionLost(f"{who} cannot be reached: {error.strerror or error}")
    return ConnectionLost(f"{who} does not speak ssh with us: {str(error) or type(error).__name__}")


def _is_late(error: Exception) -> bool:
    """Whether the time was up; the library calls it no session where it is up in the middle of the key exchange."""
    return isinstance(error, TimeoutError) or "No existing session" in str(error)


def _hint(place: Place) -> str:
    locked = _locked(place)
    if locked:
        add = shlex.join(["ssh-add", locked[0]])
        return f": {locked[0]} is locked by a passphrase, so load it into the agent ({add})"
    copy = f"ssh-copy-id -p {place.port} {place.user}@{place.hostname}"
    return f": put a key of yours there ({copy}), or name one (-o ssh.identity=FILE)"
