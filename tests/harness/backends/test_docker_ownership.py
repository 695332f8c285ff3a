"""Nothing is done to a container that is not ours, whatever it is called."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any, cast

import docker
import pytest

from foreshock.harness.backends.docker.containers import NodeContainers
from foreshock.harness.backends.docker.engine import EngineCalls, connect
from foreshock.harness.backends.docker.healing import heal
from foreshock.harness.backends.docker.host import PodHost
from foreshock.harness.backends.docker.images import ImageBuilder
from foreshock.harness.backends.docker.ownership import inspected
from foreshock.harness.errors import FaultError


class Labelled:
    """An engine that knows one container and its labels."""

    def __init__(self, labels: dict[str, str] | None) -> None:
        self._labels = labels

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"Id": "7", "Name": f"/{container}", "Config": {"Labels": self._labels}}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "it has no label of ours"),
        ({}, "it has no label of ours"),
        ({"foreshock.run": "mine"}, "it belongs to run mine"),
        ({"foreshock": "1"}, "it has no label of ours"),
        ({"foreshock": "1", "foreshock.run": "another"}, "it belongs to run another"),
    ],
)
def test_labels_decide_and_not_the_name(labels: dict[str, str] | None, said: str) -> None:
    with pytest.raises(FaultError, match=f"the container foreshock-mine-n1 is not one of run mine: {said}"):
        inspected(cast(docker.APIClient, Labelled(labels)), "foreshock-mine-n1", "mine")


def test_what_has_our_labels_is_ours() -> None:
    ours = Labelled({"foreshock": "1", "foreshock.run": "mine", "more": "of it"})
    assert inspected(cast(docker.APIClient, ours), "foreshock-mine-n1", "mine")["Id"] == "7"


@pytest.fixture
def client() -> Iterator[docker.APIClient]:
    with contextlib.closing(connect()) as client:
        yield client


@pytest.mark.docker
def test_a_foreign_container_under_our_name_and_a_pod_in_our_network_are_left_alone(
    client: docker.APIClient,
) -> None:
    """Two have taken the names of a node and of its pod; a third has our labels, but lives in our network."""
    run = f"owned-{secrets.token_hex(3)}"
    image = ImageBuilder(client, threading.Event()).ensure(())
    containers = NodeContainers(client, run, "n1", {})
    calls = EngineCalls()
    made = []
    for name, labels, network in (
        (containers.container, {}, "none"),
        (containers.pod, {}, "none"),
        (f"foreshock-{run}-n2-pod", {"foreshock": "1", "foreshock.run": run}, "host"),
    ):
        configuration = client.create_host_config(network_mode=network)
        made.append(
            client.create_container(
                image, ["sleep", "600"], name=name, labels=labels, host_config=configuration
            )["Id"]
        )
    try:
        for identity in made:
            client.start(identity)
        for do in (
            containers.kill,
            containers.start,
            containers.pause,
            containers.resume,
            containers.running,
        ):
            with pytest.raises(FaultError, match=f"is not one of run {run}: it has no label of ours"):
                do()
        inverse = {"run": run, "containers": {"n1": containers.container}, "pods": {"n1": containers.pod}}
        for kind in ("partition", "pause", "kill", "packet"):
            fault = {**inverse, "fault": kind, "scripts": {"n1": "touch /done"} if kind == "packet" else {}}
            if kind == "pause":
                client.pause(made[0])
            with pytest.raises(FaultError, match="nothing was done to it"):
                heal(client, fault)
        for pod, said in (
            (containers.pod, "it has no label of ours"),
            (f"foreshock-{run}-n2-pod", "shares its network"),
        ):
            host = PodHost("n1", pod, client, calls, run)
            with pytest.raises(FaultError, match=said):
                asyncio.run(host.run("touch /done"))
            host.close()
        states = [client.inspect_container(identity)["State"] for identity in made]
        assert [(state["Running"], state["Paused"]) for state in states] == [
            (True, True),
            (True, False),
            (True, False),
        ]
        client.unpause(made[0])
        for identity in made:
            assert all("done" not in change["Path"] for change in client.diff(identity) or ())
    finally:
        calls.close()
        for identity in made:
            client.remove_container(identity, force=True, v=True)
