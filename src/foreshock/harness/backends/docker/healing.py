"""Undoing a fault from its inverse alone: in another process, after the harness died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound

from foreshock.harness.backends import grudge_rules
from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.errors import FaultError


def heal(client: docker.APIClient, fault: Mapping[str, Any]) -> str:
    """Undo the fault where its containers still are; says what was done. Idempotent; raises ``FaultError``."""
    run, kind = fault["run"], fault["fault"]
    with explained(f"the fault {kind} of run {run} cannot be healed", FaultError):
        match kind:
            case "partition":
                healed = [name for name, pod in fault["pods"].items() if _open_pod(client, name, pod)]
                return f"all is heard again by {', '.join(healed)}" if healed else _nothing("pod")
            case "pause":
                healed = [name for name, each in fault["containers"].items() if _resume(client, each)]
                return f"resumed {', '.join(healed)}" if healed else _nothing("node is paused")
            case "kill":
                healed = [name for name, each in fault["containers"].items() if _start(client, each)]
                return f"started {', '.join(healed)}" if healed else _nothing("node is down")
        scripts: Mapping[str, str] = fault.get("scripts", {})
        if scripts:
            healed = [name for name, script in scripts.items() if _undo(client, fault, name, script)]
            return f"{kind} undone on {', '.join(healed)}" if healed else _nothing("pod")
    raise FaultError(f"the docker backend knows no fault {kind!r}")


def _nothing(what: str) -> str:
    return f"nothing to do: no {what} is left" if what == "pod" else f"nothing to do: no {what}"


def _state(client: docker.APIClient, container: str) -> Mapping[str, Any] | None:
    try:
        state: Mapping[str, Any] = client.inspect_container(container)["State"]
    except NotFound:
        return None
    return state


def _open_pod(client: docker.APIClient, name: str, pod: str) -> bool:
    state = _state(client, pod)
    if state is None or not state["Running"]:
        return False
    _run_in(client, pod, grudge_rules.remove(), f"iptables in the pod of node {name}")
    return True


def _undo(client: docker.APIClient, fault: Mapping[str, Any], name: str, script: str) -> bool:
    pod = fault["pods"][name]
    state = _state(client, pod)
    if state is None or not state["Running"]:
        return False
    _run_in(client, pod, script, f"the script that undoes {fault['fault']} in the pod of node {name}")
    return True


def _run_in(client: docker.APIClient, pod: str, script: str, what: str) -> None:
    execution = client.exec_create(pod, ["/bin/sh", "-c", script])
    output = bytes(client.exec_start(execution["Id"])).decode(errors="replace")
    if client.exec_inspect(execution["Id"])["ExitCode"]:
        raise FaultError(f"{what} failed: {output.strip()}")


def _resume(client: docker.APIClient, container: str) -> bool:
    state = _state(client, container)
    if state is None or not state["Paused"]:
        return False
    client.unpause(container)
    return True


def _start(client: docker.APIClient, container: str) -> bool:
    state = _state(client, container)
    if state is None or state["Running"]:
        return False
    try:
        client.start(container)
    except APIError as error:
        if "No such container" in str(error.explanation):  # its pod is gone, and with it its network
            return False
        raise
    return True
