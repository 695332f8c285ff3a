"""Targets that do what a campaign must live with; ``tests/harness/campaign`` selects them by path."""

# ruff: noqa: ASYNC230, ASYNC240, ASYNC251 - they misbehave on purpose

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from foreshock.harness.cluster import Cluster
from foreshock.harness.runtime import Runtime
from foreshock.targets.reference.raft_target import Raft
from foreshock.targets.reference.register_client import ReferenceRegisterClient

MOOD = Path(os.environ.get("CAMPAIGN_TEST_MOOD", "/nonexistent"))


class LiesNowAndThen(ReferenceRegisterClient):
    """Reads what nobody wrote in the first run, the third and so on: how many there were stands in a file."""

    async def read(self, key: Any) -> Any:
        value = await super().read(key)
        return 987_654 if len(MOOD.read_text()) % 2 else value


class Moody(Raft):
    """Fails in its first run, and not in its second."""

    services: ClassVar[Mapping[str, type[Any]]] = {"register": LiesNowAndThen}

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        with MOOD.open("a") as file:
            file.write("x")


class Hangs(ReferenceRegisterClient):
    async def read(self, key: Any) -> Any:
        while True:
            time.sleep(60)


class Hanging(Raft):
    """Its clients never give back control, so that nothing in its process can end the test."""

    services: ClassVar[Mapping[str, type[Any]]] = {"register": Hangs}


class NeedsAFile(Raft):
    """Cannot be set up as long as a file is missing, as where an engine is down."""

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        MOOD.read_text()


class Dies(ReferenceRegisterClient):
    async def read(self, key: Any) -> Any:
        if not MOOD.exists():
            MOOD.write_text("died")
            print("so long, and thanks", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().read(key)


class DyingOnce(Raft):
    """Its first run takes the process along; later ones are as any."""

    services: ClassVar[Mapping[str, type[Any]]] = {"register": Dies}
