"""The :class:`~foreshock.harness.host.Host` port on a pod."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, Final, cast

import docker

from foreshock.harness.backends.docker.engine import EngineCalls, explained
from foreshock.harness.backends.docker.ownership import inspected, own_network_refused
from foreshock.harness.backends.docker.shell import ContainerShell
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.host import HostResult

_SPOOL_BYTES: Final = 1 << 20


class PodHost:
    """The pod of one node; its shell is opened when it is first needed and again after it broke.

    Each time it is looked at whether the pod is one of the run's, and not in the network that the harness lives in.
    """

    def __init__(self, name: str, pod: str, client: docker.APIClient, calls: EngineCalls, run: str) -> None:
        self._name = name
        self._pod = pod
        self._run_name = run
        self._client = client
        self._calls = calls
        self._shell: ContainerShell | None = None
        self._one_at_a_time = threading.Lock()  # also for a script whose caller no longer waits

    @property
    def name(self) -> str:
        """The name of the node that lives there."""
        return self._name

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        """Run a POSIX shell script in the pod; raises ``HarnessError`` when the pod is lost or the time is up."""
        return await self._calls.call(lambda: self._run(script, timeout_ms))

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        """Write a file in the pod; raises ``HarnessError``."""
        path = PurePosixPath(remote_path)
        archive = tar_of({path.name: data}, mode)
        await self._calls.call(lambda: put(self._client, self._ours(), str(path.parent), archive, self._name))

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:
        """Fetch a file from the pod (its last ``limit_bytes``); raises ``HarnessError``."""
        await self._calls.call(lambda: self._download(remote_path, local_path, limit_bytes))

    def close(self) -> None:
        """Close the shell; idempotent."""
        if self._shell is not None:
            self._shell.close()
            self._shell = None

    def _run(self, script: str, timeout_ms: int) -> HostResult:
        with self._one_at_a_time:
            if self._shell is None:
                self._shell = self._opened(timeout_ms)
            try:
                return self._shell.run(script, timeout_ms)
            except HarnessError:
                self.close()
                raise

    def _ours(self) -> str:
        """The id of the pod, whose labels say that it is ours; raises ``FaultError``."""
        with explained(f"the pod of node {self._name} cannot be found", FaultError):
            identity: str = inspected(self._client, self._pod, self._run_name)["Id"]
        return identity

    def _opened(self, timeout_ms: int) -> ContainerShell:
        shell = ContainerShell(self._client, self._ours(), self._name)
        try:
            refused = shell.run(own_network_refused() or "true", timeout_ms)
            if refused.exit_code:
                raise FaultError(
                    f"the pod of node {self._name} is not for faults: {refused.stderr.strip() or 'it has no shell'}"
                )
        except HarnessError:
            shell.close()
            raise
        return shell

    def _download(self, remote_path: str, local_path: Path, limit_bytes: int) -> None:
        what = f"{remote_path} cannot be fetched from the pod of node {self._name}"
        with explained(what), SpooledTemporaryFile(_SPOOL_BYTES) as spool:
            chunks, _ = self._client.get_archive(self._pod, remote_path)
            for chunk in chunks:
                spool.write(chunk)
            spool.seek(0)
            with tarfile.open(fileobj=cast(IO[bytes], spool)) as archive:
                member = archive.next()
                reader = None if member is None else archive.extractfile(member)
                if member is None or reader is None:
                    raise HarnessError(f"{what}: it is not a file")
                reader.seek(max(0, member.size - limit_bytes))
                local_path.write_bytes(reader.read(limit_bytes))


def tar_of(files: dict[str, bytes], mode: int) -> bytes:
    """An archive with the files, as the engine takes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = mode
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def put(client: docker.APIClient, container: str, folder: str, archive: bytes, name: str) -> None:
    """Unpack an archive into a folder of a container, running or not; raises ``HarnessError``."""
    with explained(f"the files of node {name} cannot be written to {folder}"):
        client.put_archive(container, folder, archive)
