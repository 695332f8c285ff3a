"""What a dry run on docker shows: the commands that an engine would be given, where no engine is."""

from __future__ import annotations

from typing import Any, cast

import docker

from foreshock.harness.backends.docker.containers import NodeContainers
from foreshock.harness.backends.docker.limits import NO_LIMIT_BYTES, set_limit
from foreshock.harness.backends.docker.rehearsal import RecordingEngine, healing_commands
from foreshock.harness.rehearsal.recording import Recorder

MIB = 1 << 20


def test_limits_are_shown_as_docker_takes_them_and_healing_takes_away_those_that_are_there() -> None:
    recorder = Recorder()
    engine: Any = RecordingEngine(recorder)
    node = NodeContainers(cast(docker.APIClient, engine), "r", "n1", {"foreshock": "1", "foreshock.run": "r"})
    node.start_pod("image", "net", ())
    node.start_node("image", ["sleep"], {}, None)
    recorder.taken()

    def said() -> list[str]:
        return [command.text for command in recorder.taken()]

    set_limit(node, "memory", None)
    assert said() == []  # nothing is limited
    set_limit(node, "cpu", 5)
    set_limit(node, "memory", 64 * MIB)
    limited = [
        "docker update --cpu-period=100000 --cpu-quota=5000 foreshock-r-n1",
        f"docker update --memory={64 * MIB} --memory-swap={64 * MIB} foreshock-r-n1",
    ]
    assert said() == limited
    fault = {"fault": "starve", "run": "r", "pods": {"n1": node.pod}, "containers": {"n1": node.container}}
    lifted = [
        "docker update --cpu-period=100000 --cpu-quota=-1 foreshock-r-n1",
        f"docker update --memory={NO_LIMIT_BYTES} --memory-swap={NO_LIMIT_BYTES} foreshock-r-n1",
    ]
    assert [command.text for command in healing_commands(engine, fault)] == lifted
    for resource in ("cpu", "memory"):
        set_limit(node, resource, None)
    assert said() == lifted
