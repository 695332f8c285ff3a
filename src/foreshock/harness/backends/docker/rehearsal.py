"""A docker cluster that touches no engine: each call becomes the ``docker`` command that does the same."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import docker
from docker.types import HostConfig

from foreshock.harness.backends.docker.cluster import DockerCluster
from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.backends.docker.healing import heal
from foreshock.harness.backends.docker.host import PodHost
from foreshock.harness.backends.docker.images import REGISTRY_BASE, image_tag
from foreshock.harness.backends.docker.leftovers import OURS, RUN, containers_of_run, runs_to_clean
from foreshock.harness.backends.docker.ownership import own_network_refused
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.errors import HarnessError
from foreshock.harness.rehearsal.recording import (
    ASSUMED_PID,
    Command,
    DirectCalls,
    Recorder,
    RecordingHost,
)
from foreshock.harness.runtime import Runtime

ENGINE: Final = "engine"
_CONTEXT: Final = "foreshock/harness/backends/docker"
_API: Final = "1.41"
_ADDRESSES: Final = "192.0.2."
"""Of a network that is for documentation alone (RFC 5737)."""


class RehearsedDockerCluster(DockerCluster):
    """Deploys nothing, and writes down what a deployment and each fault would have the engine and the pods do."""

    def __init__(self, specification: ClusterSpecification, runtime: Runtime, recorder: Recorder) -> None:
        super().__init__(specification, runtime)
        self._recorder = recorder
        self._engine = RecordingEngine(recorder)
        self._calls = cast(Any, DirectCalls())
        self._client = cast(docker.APIClient, self._engine)

    async def process_on_host(self, name: str) -> int | None:
        """A pid that stands for the one to come."""
        return ASSUMED_PID + self.node_names.index(name)

    async def teardown(self) -> None:
        """Write down how what the run made is removed."""
        labels = f"--filter label=foreshock=1 --filter label=foreshock.run={self.specification.run}"
        for text in (
            f"docker rm --force --volumes $(docker ps --all --quiet {labels})",
            f"docker volume rm $(docker volume ls --quiet {labels})",
            f"docker network rm $(docker network ls --quiet {labels})",
        ):
            self._recorder.add(ENGINE, text)

    def register_run(self) -> None:
        """Nothing is there to be found by heal and clean."""

    async def engine_client(self) -> docker.APIClient:
        """The engine that writes down."""
        return cast(docker.APIClient, self._engine)

    async def image(self, client: docker.APIClient, packages: Sequence[str]) -> str:  # noqa: ARG002
        """The tag of the image, and how it would be built."""
        tag = image_tag(REGISTRY_BASE, packages)
        arguments = f"--build-arg BASE={REGISTRY_BASE} --build-arg PACKAGES={shlex.quote(' '.join(packages))}"
        self._recorder.add(ENGINE, f"docker build --tag {tag} {arguments} {_CONTEXT}  (unless it is there)")
        return tag

    def pod_host(self, name: str, pod: str, client: docker.APIClient) -> PodHost:  # noqa: ARG002
        """A pod that writes down its scripts."""
        return cast(PodHost, RecordingHost(name, f"{name} (docker exec {pod} sh)", self._recorder))

    async def wait_until_ready(self) -> None:
        """Nobody is to be waited for."""


class RecordingEngine:
    """Answers like an engine in which everything goes well, and writes down each call as a command."""

    base_url = "http+docker://localhost"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._numbers = itertools.count(2)
        self._containers: dict[str, dict[str, Any]] = {}

    def info(self) -> dict[str, Any]:
        """An engine that shares its network with this machine."""
        return {"OSType": "linux"}

    def create_network(self, name: str, driver: str, labels: Mapping[str, str], **_: Any) -> None:
        """``docker network create``."""
        self._say("network", "create", "--driver", driver, *_labels(labels), name)

    def create_volume(
        self,
        name: str,
        driver: str | None = None,
        driver_opts: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """``docker volume create``."""
        options = [word for key, value in (driver_opts or {}).items() for word in ("--opt", f"{key}={value}")]
        drivers = [] if driver is None else ["--driver", driver]
        self._say("volume", "create", *drivers, *options, *_labels(labels or {}), name)

    def create_host_config(self, **settings: Any) -> dict[str, Any]:
        """As the engine's client makes it; nothing is asked of the engine for it."""
        return dict(HostConfig(version=_API, **settings))

    def create_container(self, image: str, **settings: Any) -> dict[str, str]:
        """``docker create``. Of the environment only names are written down: values may be secret."""
        name = settings["name"]
        configuration = settings.get("host_config") or {}
        words = ["--name", name, *_labels(settings.get("labels") or {})]
        if settings.get("hostname"):
            words += ["--hostname", settings["hostname"]]
        for variable in sorted(settings.get("environment") or {}):
            words += ["--env", variable]
        if settings.get("working_dir"):
            words += ["--workdir", settings["working_dir"]]
        words += [*_of_host(configuration), image, *(settings.get("command") or ())]
        self._say("create", *words)
        identity = f"{len(self._containers) + 1:064x}"
        network = str(configuration.get("NetworkMode", ""))
        self._containers[name] = {
            "Id": identity,
            "Name": f"/{name}",
            "Config": {"Labels": dict(settings.get("labels") or {})},
            "State": {"Running": False, "Paused": False, "ExitCode": 0, "Error": "", "Pid": ASSUMED_PID},
            "HostConfig": {},
            "NetworkSettings": {
                "Networks": {network: {"IPAddress": f"{_ADDRESSES}{next(self._numbers)}"}}
                if not network.startswith("container:")
                else {}
            },
        }
        return {"Id": identity}

    def put_archive(self, container: str, path: str, data: bytes) -> bool:
        """``docker cp``."""
        self._recorder.add(
            ENGINE, f"docker cp - {self._name(container)}:{path}  (an archive of {len(data)} bytes)"
        )
        return True

    def inspect_container(self, container: str) -> dict[str, Any]:
        """What is known of a container; asking touches nothing and is not written down."""
        return self._found(container)

    def start(self, container: str) -> None:
        """``docker start``."""
        self._say("start", self._name(container))
        self._found(container)["State"]["Running"] = True

    def kill(self, container: str, signal: str) -> None:
        """``docker kill``."""
        self._say("kill", "--signal", str(signal), self._name(container))
        self._found(container)["State"] |= {"Running": False, "Paused": False}

    def pause(self, container: str) -> None:
        """``docker pause``."""
        self._say("pause", self._name(container))
        self._found(container)["State"]["Paused"] = True

    def unpause(self, container: str) -> None:
        """``docker unpause``."""
        if self._found(container)["State"]["Paused"]:
            self._say("unpause", self._name(container))
        self._found(container)["State"]["Paused"] = False

    def remove_container(self, container: str, **_: Any) -> None:
        """``docker rm``."""
        self._say("rm", "--force", "--volumes", self._name(container))
        self._containers.pop(self._name(container), None)

    def update_container(self, container: str, **limits: Any) -> None:
        """``docker update``."""
        self._say("update", *_limit_flags(limits), self._name(container))
        self._found(container)["HostConfig"] |= {_LIMITS[key][1]: value for key, value in limits.items()}

    def logs(self, container: str, **_: Any) -> Iterator[bytes]:  # noqa: ARG002 - reading touches nothing
        """There are none."""
        return iter(())

    def close(self) -> None:
        """Nothing is open."""

    def __getattr__(self, name: str) -> Any:
        """Any other call: written down as it is."""
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments: Any, **more: Any) -> dict[str, Any]:
            words = [*map(repr, arguments), *(f"{key}={value!r}" for key, value in more.items())]
            self._recorder.add(ENGINE, f"(the engine's {name}: {', '.join(words)})")
            return {}

        return call

    def _say(self, *words: str) -> None:
        self._recorder.add(ENGINE, shlex.join(["docker", *words]))

    def _found(self, container: str) -> dict[str, Any]:
        return self._containers[self._name(container)]

    def _name(self, container: str) -> str:
        if container in self._containers:
            return container
        for name, known in self._containers.items():
            if known["Id"] == container:
                return name
        raise HarnessError(f"the rehearsal knows no container {container!r}")


def _labels(labels: Mapping[str, str]) -> list[str]:
    return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]


_LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "cpu_period": ("--cpu-period", "CpuPeriod"),
    "cpu_quota": ("--cpu-quota", "CpuQuota"),
    "mem_limit": ("--memory", "Memory"),
    "memswap_limit": ("--memory-swap", "MemorySwap"),
}
"""What the engine's client calls a limit, as a flag of ``docker update`` and where the engine shows it."""
_FLAGS: Final[Mapping[str, str]] = {
    "NetworkMode": "--network",
    "PidMode": "--pid",
    "IpcMode": "--ipc",
    "CgroupnsMode": "--cgroupns",
    "Binds": "--volume",
    "CapAdd": "--cap-add",
    "CapDrop": "--cap-drop",
    "SecurityOpt": "--security-opt",
    "Memory": "--memory",
    "MemorySwap": "--memory-swap",
    "ShmSize": "--shm-size",
}


def _limit_flags(limits: Mapping[str, Any]) -> list[str]:
    return [f"{_LIMITS[key][0]}={value}" for key, value in limits.items()]


def _of_host(configuration: Mapping[str, Any]) -> list[str]:
    """What a host configuration is on the command line."""
    words: list[str] = []
    for key, value in configuration.items():
        if not value:
            continue
        if key == "Sysctls":
            words += [word for name, setting in value.items() for word in ("--sysctl", f"{name}={setting}")]
        elif key == "Devices":
            words += [
                word
                for each in value
                for word in (
                    "--device",
                    f"{each['PathOnHost']}:{each['PathInContainer']}:{each['CgroupPermissions']}",
                )
            ]
        elif key == "PortBindings":
            for port, places in value.items():
                words += [w for place in places for w in ("--publish", f"{place.get('HostIp', '')}::{port}")]
        elif key == "LogConfig":
            words += ["--log-driver", str(value.get("Type", ""))]
        elif key in _FLAGS:
            each_value = value if isinstance(value, list | tuple) else [value]
            words += [word for each in each_value for word in (_FLAGS[key], str(each))]
        else:
            words.append(f"--{key}={value}")
    return words


def healing_commands(client: docker.APIClient, fault: Mapping[str, Any]) -> list[Command]:
    """What healing a fault would run: the engine is asked what is there, and nothing is done to it.

    Raises ``FaultError`` as healing itself would.
    """
    recorder = Recorder()
    heal(cast(docker.APIClient, _LookingEngine(client, recorder)), fault)
    return list(recorder.taken())


def cleaning_commands(client: docker.APIClient, run: str | None) -> dict[str, list[Command]]:
    """What would be removed of each dead run, or of the one named."""
    found = {}
    for name in runs_to_clean(client, run):
        wanted = {"label": [f"{OURS}=1", f"{RUN}={name}"]}
        with explained("the engine cannot be asked what is ours"):
            containers = [each["Names"][0].lstrip("/") for each in containers_of_run(client, name)]
            volumes = [each["Name"] for each in client.volumes(filters=wanted)["Volumes"] or []]
            networks = [each["Name"] for each in client.networks(filters=wanted)]
        texts = [shlex.join(["docker", "rm", "--force", "--volumes", each]) for each in sorted(containers)]
        texts += [shlex.join(["docker", "volume", "rm", each]) for each in sorted(volumes)]
        texts += [shlex.join(["docker", "network", "rm", each]) for each in sorted(networks)]
        found[name] = [Command(ENGINE, text) for text in texts]
    return found


class _LookingEngine:
    """An engine that is asked for what is there, while all that would change something is only written down."""

    def __init__(self, client: docker.APIClient, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder
        self._names: dict[str, str] = {}

    def inspect_container(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.inspect_container(container)
        self._names[found["Id"]] = found["Name"].lstrip("/")
        return found

    def exec_create(self, container: str, command: Sequence[str]) -> dict[str, str]:
        script = command[-1].removeprefix(own_network_refused())
        self._recorder.add(f"docker exec {self._names.get(container, container)} sh", script)
        return {"Id": ""}

    def exec_start(self, identity: str) -> bytes:  # noqa: ARG002 - nothing is run
        return b""

    def exec_inspect(self, identity: str) -> dict[str, int]:  # noqa: ARG002
        return {"ExitCode": 0}

    def start(self, container: str) -> None:
        self._say("start", container)

    def unpause(self, container: str) -> None:
        self._say("unpause", container)

    def update_container(self, container: str, **limits: Any) -> None:
        self._say("update", container, *_limit_flags(limits))

    def _say(self, verb: str, container: str, *flags: str) -> None:
        name = self._names.get(container, container)
        self._recorder.add(ENGINE, shlex.join(["docker", verb, *flags, name]))
