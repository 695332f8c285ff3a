"""Undoing a fault from its inverse alone: in another process, after the harness died."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import docker
from docker.errors import APIError, NotFound

from foreshock.harness.backends import grudge_rules
from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.backends.docker.limits import lift_limits
from foreshock.harness.backends.docker.ownership import inspected, own_network_refused
from foreshock.harness.backends.on_hosts import processes
from foreshock.harness.errors import FaultError

_NOTHING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pause": "nothing to do: no node is paused",
        "kill": "nothing to do: no node is down",
        "power": "nothing to do: no node is down",
        "upgrade": "nothing to do: no node is down",
        "starve": "nothing to do: no node is short of anything",
    }
)


def heal(client: docker.APIClient, fault: Mapping[str, Any]) -> str:
    """Undo the fault where its containers still are; says what was done. Idempotent; raises ``FaultError``.

    What the engine itself undoes comes first, then the scripts of the inverse, each in its pod. Every node is tried.
    """
    kind = fault["fault"]
    steps = _steps(client, fault)
    if not steps:
        raise FaultError(f"the docker backend knows no fault {kind!r}")
    said: list[str] = []
    failed: list[str] = []
    for what, names, heal_one in steps:
        healed = []
        for name in names:
            try:
                with explained(f"the fault {kind} of run {fault['run']} cannot be healed", FaultError):
                    if heal_one(name):
                        healed.append(name)
            except FaultError as error:
                failed.append(str(error))
        if healed:
            said.append(f"{what} {', '.join(healed)}")
    if failed:
        raise FaultError("; ".join(failed))
    return ", ".join(said) or _NOTHING.get(kind, "nothing to do: no pod is left")


def _steps(
    client: docker.APIClient, fault: Mapping[str, Any]
) -> list[tuple[str, Iterable[str], Callable[[str], bool]]]:
    """What to say, to which nodes, and what to do to each; it answers whether there was anything to do."""
    kind, pods, containers = fault["fault"], fault["pods"], fault["containers"]
    scripts: Mapping[str, str] = fault.get("scripts", {})
    steps: list[tuple[str, Iterable[str], Callable[[str], bool]]] = []
    match kind:
        case "partition":
            steps.append(("all is heard again by", pods, lambda name: _open_pod(client, fault, name)))
        case "pause":
            steps.append(("resumed", containers, lambda name: _resume(client, fault, name)))
        case "starve":
            steps.append(("fed", containers, lambda name: _feed(client, fault, name)))
        case "kill" | "power" | "upgrade":
            steps.append(("started", containers, lambda name: _start(client, fault, name)))
    if scripts:
        steps.append((f"{kind} undone on", scripts, lambda name: _undo(client, fault, name, scripts[name])))
    return steps


def _found(client: docker.APIClient, fault: Mapping[str, Any], container: str) -> Mapping[str, Any] | None:
    """What the engine knows of a container of the run, ``None`` when it is gone; another's is a ``FaultError``."""
    try:
        return inspected(client, container, str(fault["run"]))
    except NotFound:
        return None


def _pod(client: docker.APIClient, fault: Mapping[str, Any], name: str) -> str | None:
    """The id of the node's pod, where that still runs."""
    found = _found(client, fault, fault["pods"][name])
    return str(found["Id"]) if found is not None and found["State"]["Running"] else None


def _open_pod(client: docker.APIClient, fault: Mapping[str, Any], name: str) -> bool:
    pod = _pod(client, fault, name)
    if pod is not None:
        _run_in(client, pod, grudge_rules.remove(), f"iptables in the pod of node {name}")
    return pod is not None


def _undo(client: docker.APIClient, fault: Mapping[str, Any], name: str, script: str) -> bool:
    pod = _pod(client, fault, name)
    if pod is not None:
        _run_in(client, pod, script, f"the script that undoes {fault['fault']} in the pod of node {name}")
    return pod is not None


def _run_in(client: docker.APIClient, pod: str, script: str, what: str) -> str:
    execution = client.exec_create(pod, ["/bin/sh", "-c", own_network_refused() + script])
    output = bytes(client.exec_start(execution["Id"])).decode(errors="replace")
    if client.exec_inspect(execution["Id"])["ExitCode"]:
        raise FaultError(f"{what} failed: {output.strip()}")
    return output


def _resume(client: docker.APIClient, fault: Mapping[str, Any], name: str) -> bool:
    found = _found(client, fault, fault["containers"][name])
    if found is None:
        return False
    frozen = bool(found["State"]["Paused"])
    if frozen:
        client.unpause(found["Id"])
    pod = _pod(client, fault, name)
    script = processes.go_on(processes.of_container(str(found["Id"])))
    stopped = "" if pod is None else _run_in(client, pod, script, f"resuming node {name} from its pod")
    return frozen or bool(stopped.strip())


def _feed(client: docker.APIClient, fault: Mapping[str, Any], name: str) -> bool:
    found = _found(client, fault, fault["containers"][name])
    return found is not None and lift_limits(client, found["Id"])


def _start(client: docker.APIClient, fault: Mapping[str, Any], name: str) -> bool:
    found = _found(client, fault, fault["containers"][name])
    if found is None or found["State"]["Running"]:
        return False
    if _pod(client, fault, name) is None:  # it ended with the engine, and no node goes on without it
        return False
    try:
        client.start(found["Id"])
    except APIError as error:
        if "No such container" in str(error.explanation):  # its pod is gone, and with it its network
            return False
        raise
    return True
