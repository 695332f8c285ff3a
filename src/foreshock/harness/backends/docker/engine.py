"""The Docker engine: reach it, say clearly why it cannot be reached, call it without blocking the loop."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env

from foreshock.harness.backends.blocking_calls import BlockingCalls
from foreshock.harness.errors import HarnessError

T = TypeVar("T")

CALL_TIMEOUT_S: Final = 60
_PING_TIMEOUT_S: Final = 5
_THREADS_MAX: Final = 32
_DEFAULT_SOCKET: Final = "unix:///var/run/docker.sock"
_INSTEAD: Final = "or use --backend process"


def connect(timeout_s: int = CALL_TIMEOUT_S) -> docker.APIClient:
    """A client of the engine that ``DOCKER_HOST`` names, or of this machine's own.

    Raises ``HarnessError`` with one sentence that says what is wrong and how to mend it.
    """
    try:
        client = docker.APIClient(**_where(), version="auto", timeout=timeout_s)
    except (DockerException, requests.RequestException) as error:
        raise HarnessError(_why_not(error)) from error
    return client


def reason_not_available() -> str | None:
    """``None`` when an engine answers that runs Linux containers, else one sentence."""
    try:
        client = connect(_PING_TIMEOUT_S)
    except HarnessError as error:
        return str(error)
    try:
        with contextlib.closing(client):
            system = client.info().get("OSType", "linux")
    except (DockerException, requests.RequestException) as error:
        return _why_not(error)
    if system != "linux":
        return f"the Docker engine runs {system} containers: switch it to Linux containers, {_INSTEAD}."
    return None


def reaches_containers(client: docker.APIClient) -> bool:
    """Whether this machine reaches containers by their own addresses.

    It does where the engine shares its kernel and its network; not through a virtual machine, nor rootless.
    """
    if sys.platform != "linux" or not client.base_url.startswith("http+docker://localhost"):
        return False
    info = client.info()
    rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
    return not rootless and info.get("OperatingSystem") != "Docker Desktop"


@contextlib.contextmanager
def explained(what: str, kind: type[HarnessError] = HarnessError) -> Iterator[None]:
    """Turn what the engine's client raises into one sentence: ``what`` could not be done, and why."""
    try:
        yield
    except APIError as error:
        raise kind(f"{what}: {error.explanation or error}") from error
    except (DockerException, requests.RequestException) as error:
        raise kind(f"{what}: {_why_not(error)}") from error


def gone_is_fine(action: Callable[[], object]) -> bool:
    """Do something to a container, volume or network; false when it is not there any more."""
    try:
        action()
    except NotFound:
        return False
    except APIError as error:
        # The engine says so while somebody else's removal of the same thing is under way.
        if error.status_code == 409 and "already in progress" in str(error.explanation):
            return False
        raise
    return True


class EngineCalls(BlockingCalls):
    """Calls to the engine."""

    def __init__(self) -> None:
        super().__init__("docker", _THREADS_MAX)


def _where() -> dict[str, Any]:
    """The arguments that point the client to the engine: the environment, else a socket that is there."""
    if os.environ.get("DOCKER_HOST"):
        return dict(kwargs_from_env())
    own = Path.home() / ".docker" / "run" / "docker.sock"  # where Docker Desktop keeps it
    if not Path(_DEFAULT_SOCKET.removeprefix("unix://")).exists() and own.exists():
        return {"base_url": f"unix://{own}"}
    return {"base_url": _DEFAULT_SOCKET}


def _root_cause(error: BaseException) -> OSError | None:
    """The system's own error under the layers of the client's libraries."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    found = None
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno is not None:
            found = current
        waiting += [current.__cause__, current.__context__, *current.args]
    return found


def _why_not(error: Exception) -> str:
    where = os.environ.get("DOCKER_HOST") or str(_where()["base_url"])
    cause = _root_cause(error)
    if isinstance(cause, PermissionError):
        return (
            f"permission is denied on the Docker engine's socket {where}: join its group "
            f"(sudo usermod -aG docker $USER, then log in again), {_INSTEAD}."
        )
    why = f" ({cause.strerror})" if cause is not None and cause.strerror else ""
    return (
        f"no Docker engine answers at {where}{why}: start one (sudo systemctl start docker), "
        f"point DOCKER_HOST to one, {_INSTEAD}."
    )
