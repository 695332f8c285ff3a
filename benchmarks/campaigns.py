"""What a campaign costs beside its tests, and how well it keeps cores busy.

The same simulated tests are run in one process, in a loop; as a campaign one at a time; and as a campaign with two
at a time: whole commands, from the start of Python to the last line, in rounds, of which the best of each counts.
Where other programs want the cores as well, ratios of time on the clock say little: that of CPU time is beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent.parent
ROUNDS = 2
SEEDS = 20
OVERHEAD_MAX = 0.05
TWO_CORES_MIN = 1.8
FILE = f"""\
name = "benchmark"
seeds = {SEEDS}
[defaults]
backend = "sim"
time-limit = 10
[matrix]
target = ["raft", "paxos", "zab"]
nemesis = ["kill", "partition,kill"]
"""


class Took(NamedTuple):
    """Seconds on the clock, and of the processors; and those that a campaign's tests had, of its own clock's."""

    wall_s: float
    cpu_s: float
    tests_s: float = 0.0
    campaign_s: float = 0.0


def in_line(file: Path, store: Path) -> None:
    """Run the campaign's tests one after the other in this process, as ``foreshock test --no-report`` would."""
    from foreshock.harness.campaign.planning import plan_campaign
    from foreshock.harness.plan import resolve
    from foreshock.harness.progress import SilentProgress
    from foreshock.harness.runner import run_test
    from foreshock.harness.store import Store

    for test in plan_campaign(file).tests():
        run_test(resolve(test.request), Store(store), SilentProgress(), report=False)


def took(command: list[str]) -> Took:
    """Run a command in a folder of its own, and measure it with all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "campaign.toml").write_text(FILE)
        environment = {**os.environ, "XDG_STATE_HOME": folder, "PYTHONPATH": str(HERE)}
        used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
        wall_s, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    if not done.stdout:
        return Took(wall_s, cpu_s)
    document = json.loads(done.stdout)
    tests_s = sum(attempt["seconds"] for row in document["rows"] for attempt in row["attempts"])
    return Took(wall_s, cpu_s, tests_s, document["seconds"])


def measured() -> dict[str, Took]:
    """The best of each command, the commands taking turns."""
    campaign = [sys.executable, "-m", "foreshock", "campaign", "campaign.toml", "--quiet", "--json", "--jobs"]
    commands = {
        "in line": [sys.executable, "-m", "benchmarks.campaigns", "in-line"],
        "campaign, 1 at a time": [*campaign, "1"],
        "campaign, 2 at a time": [*campaign, "2"],
    }
    found: dict[str, list[Took]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            found[name].append(took(command))
    return {name: min(times) for name, times in found.items()}


def main() -> int:
    """Print the figures; 1 when one is worse than it may be."""
    if sys.argv[1:] == ["in-line"]:
        in_line(Path("campaign.toml"), Path("store"))
        return 0
    load = os.getloadavg()[0]
    found = measured()
    for name, one in found.items():
        print(f"{name:<24} {one.wall_s:7.2f} s  {one.cpu_s:7.2f} s of CPU  ({6 * SEEDS} tests)")
    line, one, two = found.values()
    overhead, cpu_overhead = one.wall_s / line.wall_s - 1, one.cpu_s / line.cpu_s - 1
    speed_up = one.wall_s / two.wall_s
    print(
        f"overhead of a campaign   {overhead:7.1%}  {cpu_overhead:7.1%} of CPU  (at most {OVERHEAD_MAX:.0%})"
    )
    within = one.campaign_s / one.tests_s - 1
    print(
        f"of its own clock's time  {within:7.1%}  was not its tests', one at a time (from planning to the last of them)"
    )
    print(
        f"two at a time            {speed_up:7.2f} x one  (at least {TWO_CORES_MIN} where nobody else works)"
    )
    print(f"load when it began       {load:7.2f} on {os.cpu_count()} cores")
    return int(overhead > OVERHEAD_MAX or speed_up < TWO_CORES_MIN)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
