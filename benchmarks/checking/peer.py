"""The peer: Porcupine, built from a checkout that somebody names, and timed by a driver of ours (``peer.go``).

None of its code is here. The driver times the decision alone, a partition at a time; its test binary is the whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

DRIVER: Final = Path(__file__).with_name("peer.go")
_MODULE: Final = "github.com/anishathalye/porcupine"
_BUILD_S_MAX: Final = 600


class Peer(NamedTuple):
    """The binaries: our driver and Porcupine's own tests, which run in its checkout."""

    driver: Path
    tests: Path
    checkout: Path

    def search(
        self, model: str, files: Sequence[Path], *, timeout_s: float = 15.0, processors: int | None = None
    ) -> list[dict[str, Any]]:
        """Decide every partition of the files: dicts of file, key, events, verdict and seconds.

        ``timeout_s`` is for each partition; ``processors`` limits Go to so many.
        """
        command = [str(self.driver), "-model", model, "-timeout", f"{timeout_s}s", *map(str, files)]
        environment = {**os.environ, **({} if processors is None else {"GOMAXPROCS": str(processors)})}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def whole(self, numbers: Sequence[str], copies: int) -> float:
        """Seconds that its test binary takes for the etcd logs of these numbers, each so many times over."""
        tests = f"^TestEtcdJepsen({'|'.join(numbers)})$"
        began = time.perf_counter()
        done = subprocess.run(
            [str(self.tests), "-test.run", tests, f"-test.count={copies}", "-test.v"],
            cwd=self.checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        passed = done.stdout.count("--- PASS")
        if done.returncode or passed != copies * len(numbers):
            raise SystemExit(
                f"the peer passed {passed} of its {copies * len(numbers)} tests:\n{done.stdout[-500:]}"
            )
        return seconds


def build(checkout: Path | None, folder: Path) -> Peer | str:
    """Build the peer in a temporary folder; or say in a sentence why there is none."""
    if checkout is None:
        return "the peer is left out: --porcupine or FORESHOCK_PORCUPINE names no checkout of Porcupine"
    if not (checkout / "go.mod").is_file() or _MODULE not in (checkout / "go.mod").read_text():
        return f"the peer is left out: {checkout} is no checkout of Porcupine"
    go = shutil.which("go")
    if go is None:
        return "the peer is left out: there is no go to build it with"
    shutil.copytree(checkout, folder / "porcupine", ignore=shutil.ignore_patterns(".git"))
    driver = folder / "driver"
    driver.mkdir()
    shutil.copy(DRIVER, driver / "main.go")
    (driver / "go.mod").write_text(
        f"module driver\n\ngo 1.16\n\nrequire {_MODULE} v0.0.0\n\nreplace {_MODULE} => ../porcupine\n"
    )
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    for place, command in (
        (driver, [go, "build", "-o", "peer", "."]),
        (folder / "porcupine", [go, "test", "-c", "-o", "porcupine.test", "."]),
    ):
        done = subprocess.run(
            command,
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_S_MAX,
            check=False,
        )
        if done.returncode:
            return f"the peer is left out: {' '.join(command)} failed: {done.stderr.strip()[-500:]}"
    return Peer(driver / "peer", folder / "porcupine" / "porcupine.test", folder / "porcupine")
