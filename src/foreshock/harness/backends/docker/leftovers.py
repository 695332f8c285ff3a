"""What a run leaves in the engine, found by its labels: removed at teardown and by ``foreshock clean``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import docker
import msgspec
from docker.errors import APIError

from foreshock.harness import live_runs
from foreshock.harness.backends.docker.engine import explained, gone_is_fine
from foreshock.harness.backends.docker.images import clean_abandoned
from foreshock.harness.backends.process_identity import ProcessIdentity, alive
from foreshock.harness.backends.together import each_cleaned
from foreshock.harness.errors import HarnessError

OURS: Final = "foreshock"
RUN: Final = "foreshock.run"
NODE: Final = "foreshock.node"
ROLE: Final = "foreshock.role"
HARNESS: Final = "foreshock.harness"
DIRECTORY: Final = "foreshock.directory"

_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.1
_PARALLEL: Final = 8


def labels_of_run(run: str, directory: Path, harness: ProcessIdentity) -> dict[str, str]:
    """The labels of everything that a run makes in the engine."""
    return {
        OURS: "1",
        RUN: run,
        HARNESS: msgspec.json.encode(harness).decode(),
        DIRECTORY: str(directory),
    }


def containers_of_run(client: docker.APIClient, run: str) -> list[dict[str, Any]]:
    """The run's containers in every state, as the engine lists them."""
    return list(client.containers(all=True, filters={"label": [f"{OURS}=1", f"{RUN}={run}"]}))


def remove_run(client: docker.APIClient, run: str) -> list[str]:
    """Remove the run's containers, volumes and networks; says what was removed. Raises ``HarnessError``."""
    wanted = {"label": [f"{OURS}=1", f"{RUN}={run}"]}
    removed: list[str] = []
    with (
        explained(f"what run {run} left in the engine cannot be removed"),
        ThreadPoolExecutor(_PARALLEL) as pool,
    ):
        for _ in range(_ATTEMPTS):  # what was being made while we looked is found by looking again
            found = containers_of_run(client, run)
            if not found:
                break
            removed += [
                name for name in pool.map(lambda each: _remove_container(client, each), found) if name
            ]
        volumes = client.volumes(filters=wanted)["Volumes"] or []
        networks = client.networks(filters=wanted)
        for volume in volumes:
            name = volume["Name"]
            if _retried(partial(client.remove_volume, name)):
                removed.append(f"volume {name}")
        for network in networks:
            if _retried(partial(client.remove_network, network["Id"])):
                removed.append(f"network {network['Name']}")
    left = containers_of_run(client, run)
    if left:
        raise HarnessError(f"{len(left)} containers of run {run} cannot be removed: see docker ps -a")
    return [f"run {run}: removed {what}" for what in removed]


def _remove_container(client: docker.APIClient, container: dict[str, Any]) -> str | None:
    if container["State"] == "paused":
        gone_is_fine(lambda: client.unpause(container["Id"]))  # the engine does not kill what is frozen
    gone = _retried(lambda: client.remove_container(container["Id"], force=True, v=True))
    return f"container {container['Names'][0].lstrip('/')}" if gone else None


def _retried(action: Callable[[], object]) -> bool:
    """The engine refuses for a moment what is still in use by something that it is just removing."""
    for attempt in range(_ATTEMPTS):
        try:
            return gone_is_fine(action)
        except APIError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_S)
    return False


def clean(client: docker.APIClient, run: str | None) -> list[str]:
    """Remove what dead runs left, or the run named (by name or folder); never what a living harness uses."""
    registered = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
    known = {record.run for record in registered if record.backend == "docker"}

    def clean_one(name: str) -> list[str]:
        removed = remove_run(client, name)
        if name in known:
            live_runs.forget(name)
        return removed

    abandoned = clean_abandoned() if run is None else []
    return [*abandoned, *each_cleaned(sorted({*runs_to_clean(client, run), *known}), clean_one)]


def runs_to_clean(client: docker.APIClient, run: str | None) -> list[str]:
    """The runs that left something in the engine and whose harness is dead; or the one named, unless it lives."""
    found: dict[str, dict[str, str]] = {}
    with explained("the engine cannot be asked what is ours"):
        wanted = {"label": [f"{OURS}=1"]}
        things: Sequence[Any] = [
            *client.containers(all=True, filters=wanted),
            *(client.volumes(filters=wanted)["Volumes"] or []),
            *client.networks(filters=wanted),
        ]
    for thing in things:
        labels = thing["Labels"] or {}
        if RUN in labels:
            found[labels[RUN]] = labels
    if run is not None:
        directory = str(Path(run).resolve())
        return sorted(
            name
            for name, labels in found.items()
            if (run == name or directory == labels.get(DIRECTORY)) and not _harness_alive(labels)
        )
    # A harness that cannot be seen from here may live: its run is cleaned only when it is named.
    return sorted(name for name, labels in found.items() if _harness_alive(labels) is False)


def _harness_alive(labels: dict[str, str]) -> bool | None:
    """Whether the run's harness lives; ``None`` where nobody here can tell."""
    try:
        harness = msgspec.json.decode(labels.get(HARNESS, ""), type=ProcessIdentity)
    except msgspec.MsgspecError:
        return None
    return alive(harness)
