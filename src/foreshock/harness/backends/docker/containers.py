"""The two containers of a node, and the run's network: blocking calls to the engine, one node at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import APIError, NotFound
from docker.types import LogConfig

from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.backends.docker.host import put
from foreshock.harness.backends.docker.leftovers import NODE, ROLE
from foreshock.harness.backends.docker.ownership import inspected
from foreshock.harness.backends.on_hosts.disks import MEDIUM_SUFFIX
from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import DeployError, FaultError, HarnessError

DATA: Final = "/data"
"""The node's data directory, on a volume of its own."""

CONTROL: Final = "/control"
"""A directory of ours that a pod and its node share, for what is set while the node runs."""

MEDIUM: Final = DATA + MEDIUM_SUFFIX
"""Where that volume is in the pod, where a disk layer is mounted over the data directory."""

_FUSE: Final = "/dev/fuse"
# The node's program lives where the layer's mount is: among the mounts of its pod, whose first process has number 1. To
# get there takes privileges that the program itself does not have.
_AMONG_THE_PODS_MOUNTS: Final = ("nsenter", "--mount=/proc/1/ns/mnt", "--", "setpriv")
_PRIVILEGES: Final = ("SYS_ADMIN", "SYS_PTRACE")
_UNPRIVILEGED: Final = ("--bounding-set=-sys_admin,-sys_ptrace", "--", "env", "-C", DATA)

SHARED: Final = "/shared"
"""The directory that all nodes of a run share, where their target asks for it: memory of the engine's host."""

LOG_NAME: Final = "node.log"
_LOOPBACK: Final = "127.0.0.1"
_LOGGING: Final = LogConfig(type=LogConfig.types.JSON, config={"max-size": "32m", "max-file": "2"})
_LOG_BYTES_MAX: Final = 64 << 20
_SHARED_BYTES: Final = 64 << 20
_SETTLE_S: Final = 10.0
_POLL_S: Final = 0.01
_FREEZE_ATTEMPTS: Final = 10


class NodeContainers:
    """The pod and the container of one node. The pod owns the address; the node's container joins it."""

    def __init__(
        self,
        client: docker.APIClient,
        run: str,
        name: str,
        labels: Mapping[str, str],
        shared_volume: str | None = None,
        *,
        layered: bool = False,
    ) -> None:
        """``layered``: a disk layer is to be mounted over the node's data, in its pod."""
        self.name = name
        self.pod = f"foreshock-{run}-{name}-pod"
        self.container = f"foreshock-{run}-{name}"
        self.volume = f"foreshock-{run}-{name}-data"
        self.control = f"foreshock-{run}-{name}-control"
        self.killed = False
        self._log_kept_bytes = 0
        self.identity: str | None = None
        """The engine's id of the node's container; ``None`` before there is one."""
        self._client = client
        self._run = run
        self._labels = {**labels, NODE: name}
        self._control: dict[str, Mapping[str, str]] = {self.control: {"bind": CONTROL, "mode": "rw"}}
        self._layered = layered
        self._shared: dict[str, Mapping[str, str]] = (
            {} if shared_volume is None else {shared_volume: {"bind": SHARED, "mode": "rw"}}
        )

    def start_pod(self, image: str, network: str, published: Collection[int]) -> tuple[str, dict[int, int]]:
        """Start the pod; returns its address, and the loopback ports at which those ``published`` are."""
        ports: dict[int | str, Any] = dict.fromkeys(published, (_LOOPBACK, None))
        with explained(f"the pod of node {self.name} cannot be started", DeployError):
            self._client.create_volume(self.volume, labels=self._labels)
            self._client.create_volume(self.control, labels=self._labels)
            self._client.create_container(
                image,
                command=["python3", "/foreshock/pod_init.py"],
                name=self.pod,
                hostname=self.name,
                labels={**self._labels, ROLE: "pod"},
                ports=list(ports),
                host_config=self._client.create_host_config(
                    network_mode=network,
                    # Memory is there while somebody has it mounted.
                    binds={
                        **self._control,
                        **self._shared,
                        **(self._bound(MEDIUM) if self._layered else {}),
                    },
                    cap_add=["NET_ADMIN", *(_PRIVILEGES if self._layered else ())],
                    devices=[f"{_FUSE}:{_FUSE}:rwm"] if self._layered else [],
                    security_opt=self._unconfined(),
                    port_bindings=ports,
                    sysctls={"net.ipv6.conf.all.disable_ipv6": "1"},
                    log_config=_LOGGING,
                ),
            )
            self._client.start(self.pod)
            settings = self._client.inspect_container(self.pod)["NetworkSettings"]
        address: str = settings["Networks"][network]["IPAddress"]
        if not address:
            raise DeployError(f"the pod of node {self.name} ended at its start: {self.last_log(self.pod)}")
        return address, {port: int(settings["Ports"][f"{port}/tcp"][0]["HostPort"]) for port in published}

    def start_node(
        self, image: str, command: Sequence[str], environment: Mapping[str, str], files: bytes | None
    ) -> None:
        """Make the node's own container, put its files there, and start it."""
        with explained(f"node {self.name} cannot be started by {list(command)!r}", DeployError):
            made = self._client.create_container(
                image,
                command=[*_AMONG_THE_PODS_MOUNTS, *_UNPRIVILEGED, *command]
                if self._layered
                else list(command),
                entrypoint=[],
                name=self.container,
                environment=dict(environment),
                working_dir="/" if self._layered else DATA,
                labels={**self._labels, ROLE: "node"},
                host_config=self._client.create_host_config(
                    network_mode=f"container:{self.pod}",
                    pid_mode=f"container:{self.pod}",  # so that the pod sees, and reaches, the node's processes
                    binds={**({} if self._layered else self._bound(DATA)), **self._control, **self._shared},
                    cap_add=list(_PRIVILEGES) if self._layered else [],
                    security_opt=self._unconfined(),
                    log_config=_LOGGING,
                ),
            )
            self.identity = made["Id"]
            if files is not None:
                put(self._client, self.pod if self._layered else self.container, "/", files, self.name)
            self._client.start(self.container)

    @property
    def client(self) -> docker.APIClient:
        """The client that the calls go through."""
        return self._client

    @property
    def layered(self) -> bool:
        """Whether the node lives among the mounts of its pod."""
        return self._layered

    def state(self) -> dict[str, Any]:
        """The state of the node's container as the engine sees it; raises ``HarnessError``."""
        with explained(f"the state of node {self.name} cannot be had"):
            state: dict[str, Any] = inspected(self._client, self.container, self._run)["State"]
        return state

    def ours(self) -> str:
        """The id of the node's container, whose labels say that it is ours; raises ``FaultError``."""
        with explained(f"node {self.name} cannot be found", FaultError):
            identity: str = inspected(self._client, self.container, self._run)["Id"]
        return identity

    def running(self) -> bool:
        """Whether the node's process exists, frozen or not."""
        return bool(self.state()["Running"])

    def paused(self) -> bool:
        """Whether the node's process exists and is frozen."""
        return bool(self.state()["Paused"])

    def exit_status(self) -> str | None:
        """How the node's process ended, in words; ``None`` while it runs."""
        state = self.state()
        if state["Running"]:
            return None
        why = f" ({state['Error']})" if state.get("Error") else ""
        return f"exit status {state['ExitCode']}{why}"

    def kill(self) -> None:
        """Kill the node's process (SIGKILL, through the engine) and wait until it is gone."""
        identity = self.ours()
        with explained(f"node {self.name} cannot be killed", FaultError):
            if self.paused():
                self._unless_conflict(lambda: self._client.unpause(identity))
            self.killed = True
            self._unless_conflict(lambda: self._client.kill(identity, "SIGKILL"))
        self._until(lambda: not self.running(), "die of SIGKILL")

    def start(self) -> None:
        """Start the node's process again on the same data, in the same pod; nothing when it runs."""
        identity = self.ours()
        with explained(f"node {self.name} cannot be started again", FaultError):
            self._client.start(identity)
        self.killed = False

    def pause(self) -> None:
        """Freeze the node's process; nothing when it is frozen or does not run."""
        identity = self.ours()
        with explained(f"node {self.name} cannot be paused", FaultError):
            for attempts_left in reversed(range(_FREEZE_ATTEMPTS)):
                try:
                    self._unless_conflict(lambda: self._client.pause(identity))
                except APIError as error:
                    # So the engine says when a busy machine does not let it see in time that all are frozen.
                    if not attempts_left or "unable to freeze" not in str(error.explanation):
                        raise
                else:
                    return
                time.sleep(_POLL_S)

    def resume(self) -> None:
        """Thaw the node's process; nothing when it is not frozen."""
        identity = self.ours()
        with explained(f"node {self.name} cannot be resumed", FaultError):
            self._unless_conflict(lambda: self._client.unpause(identity))

    def remove_node(self, logs: Path) -> None:
        """Remove the node's own container, whatever it does; its data and its log (below ``logs``) stay."""
        self.kill()
        self.fetch_log(logs)
        path = logs / self.name / LOG_NAME
        self._log_kept_bytes = path.stat().st_size if path.exists() else 0
        identity = self.ours()
        with explained(f"the container of node {self.name} cannot be removed", FaultError):
            self._client.remove_container(identity, force=True)
        self.identity = None

    def last_log(self, container: str | None = None) -> str:
        """The last lines of the node's log."""
        with explained(f"the log of node {self.name} cannot be read"):
            return bytes(self._client.logs(container or self.container, tail=10)).decode(errors="replace")

    def fetch_log(self, directory: Path) -> None:
        """Write the node's log, with the engine's time stamps, to ``directory/<node>/``; raises ``HarnessError``."""
        path = directory / self.name / LOG_NAME
        with explained(f"the log of node {self.name} cannot be fetched"):
            try:
                chunks = self._client.logs(self.container, timestamps=True, stream=True, follow=False)
            except NotFound:
                return  # it was never made: there is nothing to fetch
            path.parent.mkdir(parents=True, exist_ok=True)
            written = self._log_kept_bytes
            with path.open("ab") as log:
                log.truncate(written)
                for chunk in chunks:
                    log.write(chunk)
                    written += len(chunk)
                    if written > _LOG_BYTES_MAX:
                        break

    def _bound(self, place: str) -> dict[str, Mapping[str, str]]:
        return {self.volume: {"bind": place, "mode": "rw"}}

    def _unconfined(self) -> list[str]:
        """AppArmor, where the engine has it, forbids containers to mount anything whatever their privileges."""
        if not self._layered:
            return []
        options = self._client.info().get("SecurityOptions") or ()
        return ["apparmor=unconfined"] if any("apparmor" in option for option in options) else []

    @staticmethod
    def _unless_conflict(action: Any) -> None:
        """A conflict says that it is so already (not running, already paused, not paused)."""
        try:
            action()
        except APIError as error:
            said = str(error.explanation)
            if not (error.status_code in (409, 500) and ("is not" in said or "already paused" in said)):
                raise

    def _until(self, done: Any, what: str) -> None:
        deadline = time.monotonic() + _SETTLE_S
        while not done():
            if time.monotonic() > deadline:
                raise HarnessError(f"node {self.name} did not {what} within {_SETTLE_S:g} s")
            time.sleep(_POLL_S)


def make_shared_volume(client: docker.APIClient, name: str, labels: Mapping[str, str]) -> None:
    """Make the run's own volume in memory, for all its nodes to share; raises ``DeployError``."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={_SHARED_BYTES}"}
    with explained("the memory that the nodes share cannot be made", DeployError):
        client.create_volume(name, driver="local", driver_opts=options, labels=dict(labels))


def make_network(client: docker.APIClient, name: str, labels: Mapping[str, str]) -> None:
    """Make the run's own bridge network; raises ``DeployError``."""
    with explained(
        "the run's network cannot be made (foreshock clean removes those of dead runs)", DeployError
    ):
        client.create_network(name, driver="bridge", labels=dict(labels), check_duplicate=True)


def endpoint_of(address: str, port: int, published: Mapping[int, int]) -> Endpoint:
    """Where the harness reaches a node's port: at its own address, or at the loopback port at which it is published."""
    if port in published:
        return Endpoint(host=_LOOPBACK, port=published[port])
    return Endpoint(host=address, port=port)
