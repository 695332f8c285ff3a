"""Hosts for tests of the ``ssh`` backend: containers that run a real sshd, with keys and a configuration of their own.

By hand, ``python tests/harness/backends/ssh_hosts.py DIRECTORY`` starts five, says how to use them, and removes them on
Ctrl-C.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import paramiko

from foreshock.harness.backends.docker.engine import connect
from foreshock.harness.backends.docker.images import ImageBuilder

PACKAGES = ("openssh-server", "sudo")
ORDINARY_USER = "ann"
SSHD = """\
set -e
HOME=$(getent passwd root | cut -d: -f6)
mkdir -p /run/sshd ~/.ssh
id ann >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ann
usermod -p '*' ann  # no password, which is not the same as locked
mkdir -p ~ann/.ssh
cp /keys/user.pub ~/.ssh/authorized_keys
cp /keys/user.pub ~ann/.ssh/authorized_keys
chown -R ann ~ann/.ssh
chmod 700 ~/.ssh ~ann/.ssh
chmod 600 /keys/host
echo 'ann ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/ann
exec /usr/sbin/sshd -D -e -o HostKey=/keys/host -o PasswordAuthentication=no -o UsePAM=no
"""


class SshHosts:
    """Containers, the files with which one gets in, and what a test may do to the containers."""

    def __init__(self, client: docker.APIClient, directory: Path, count: int) -> None:
        self.client = client
        self.names = tuple(f"n{i}" for i in range(1, count + 1))
        self.network = f"foreshock-test-ssh-{secrets.token_hex(4)}"
        self.config = directory / "config"
        self.known_hosts = directory / "known_hosts"
        self.identity = directory / "key"
        self.addresses: dict[str, str] = {}
        self._keys = {name: paramiko.ECDSAKey.generate() for name in self.names}
        self._user = paramiko.ECDSAKey.generate()
        self._user.write_private_key_file(str(self.identity))

    @property
    def options(self) -> dict[str, Any]:
        """The options of the backend with which one gets in as root."""
        return {"config": str(self.config), "known_hosts": str(self.known_hosts)}

    def container(self, name: str) -> str:
        """The name of a host's container."""
        return f"{self.network}-{name}"

    def start(self) -> None:
        """Start all containers and wait until each lets us connect."""
        untyped: Any = self.client
        image = ImageBuilder(self.client, threading.Event()).ensure(PACKAGES)
        untyped.create_network(self.network, driver="bridge")
        for name in self.names:
            untyped.create_container(
                image,
                ["/bin/sh", "-c", SSHD],
                name=self.container(name),
                hostname=name,
                host_config=untyped.create_host_config(
                    cap_add=["NET_ADMIN", "SYS_TIME"], network_mode=self.network
                ),
            )
            untyped.put_archive(self.container(name), "/", self._key_files(name))
            untyped.start(self.container(name))
        for name in self.names:
            found = untyped.inspect_container(self.container(name))["NetworkSettings"]["Networks"]
            self.addresses[name] = found[self.network]["IPAddress"]
            self.wait_for(name)
        self.write_files()

    def write_files(self) -> None:
        """Write the configuration and the known host keys, as they are."""
        self.config.write_text(
            "".join(f"Host {name}\n  HostName {at}\n  User root\n" for name, at in self.addresses.items())
            + f"Host *\n  IdentityFile {self.identity}\n  IdentitiesOnly yes\n"
        )
        self.known_hosts.write_text(
            "".join(
                f"{at} {self._keys[name].get_name()} {self._keys[name].get_base64()}\n"
                for name, at in self.addresses.items()
            )
        )

    def wait_for(self, name: str) -> None:
        """Wait until sshd of a host answers."""
        deadline = time.monotonic() + 90
        while True:
            try:
                with socket.create_connection((self.addresses[name], 22), 1) as reached:
                    if reached.recv(4) == b"SSH-":
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, f"sshd on {name} does not answer"
            time.sleep(0.02)

    def sh(self, name: str, script: str) -> str:
        """Run a script as root in a host's container, without ssh; what it says."""
        untyped: Any = self.client
        execution = untyped.exec_create(self.container(name), ["/bin/sh", "-c", script])
        return bytes(untyped.exec_start(execution["Id"])).decode(errors="replace")

    def reboot(self, name: str) -> None:
        """End all that runs on a host, and start it anew."""
        untyped: Any = self.client
        untyped.restart(self.container(name), timeout=0)

    def remove(self) -> None:
        """Remove containers and network."""
        untyped: Any = self.client
        for name in self.names:
            with contextlib.suppress(docker.errors.NotFound):
                untyped.remove_container(self.container(name), force=True, v=True)
        with contextlib.suppress(docker.errors.NotFound):
            untyped.remove_network(self.network)

    def _key_files(self, name: str) -> bytes:
        private = io.StringIO()
        self._keys[name].write_private_key(private)
        files = {
            "keys/host": private.getvalue(),
            "keys/user.pub": f"{self._user.get_name()} {self._user.get_base64()} test\n",
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(text), 0o600
                archive.addfile(member, io.BytesIO(text.encode()))
        return buffer.getvalue()


@contextlib.contextmanager
def started(directory: Path, count: int = 5) -> Iterator[SshHosts]:
    """Hosts for as long as the block lasts."""
    with contextlib.closing(connect()) as client:
        hosts = SshHosts(client, directory, count)
        try:
            hosts.start()
            yield hosts
        finally:
            hosts.remove()


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with started(directory) as hosts, contextlib.suppress(KeyboardInterrupt):
        options = " ".join(f"-o ssh.{key}={value}" for key, value in hosts.options.items())
        print(f"foreshock test --backend ssh --nodes {','.join(hosts.names)} {options}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
