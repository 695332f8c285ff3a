"""Which tests run beside which, when ``make test`` runs three at a time on two processors.

Of the tests with containers one runs at a time, and of those with real processes and clocks one; beside them run
those that only compute, and give way to the others. What is decided here is decided by a test's id alone, for the
process that hands out the tests knows no more of them.
"""

from __future__ import annotations

from typing import NamedTuple

COMPUTING = (
    "test_zoo.py",
    "checkers/",
    "test_determinism.py",
    "test_every_target.py",
    "test_findings.py",
    "mutation/",
    "harness/zoo/",
    "targets/reference/",
    "reports/",
    "harness/simulation/",
    "harness/campaign/",
    "harness/shrinking/",
    "harness/cli/",
    "harness/formats/",
    "harness/generator/",
    "harness/test_faults_that_lie.py",
    "workloads/",
    "nemesis/",
    "test_checking_document.py",
    "test_site.py",
    "test_guide.py",
    "test_tutorial.py",
    "test_tidy.py",
)
"""Those that wait for no clock and no node: folders of tests and files, the longest first."""
TIMED = (
    "targets/reference/test_processes.py",
    "targets/reference/node/test_server.py",
    "targets/reference/node/test_shell.py",
    "harness/campaign/test_campaign_killed.py",
    "harness/shrinking/test_replay_on_processes.py",
)
"""Those among them that do: real clusters, which have elections to win in time."""
WITH_CONTAINERS = (
    "test_kill_nine.py",
    "test_bad_luck.py",
    "harness/backends/test_docker_",
    "harness/backends/test_ssh_backend.py",
)
"""Files with containers, or that look at the whole machine before and after; else a test's name says ``container``."""
YIELDING = 15
"""How far those that only compute give way (``nice``)."""


class Place(NamedTuple):
    """When a test's turn comes, and the name of those that it follows one after another."""

    turn: int
    group: str


def place_of(node_id: str) -> Place:
    """Where a test runs; ``node_id`` is pytest's, below ``tests/`` or not."""
    path, _, name = node_id.partition("::")
    path = path.removeprefix("tests/")
    if path.startswith(WITH_CONTAINERS) or "container" in name.partition("[")[0]:
        return Place(0, "containers")
    turn = next((turn for turn, start in enumerate(COMPUTING, 2) if path.startswith(start)), None)
    if turn is None or path.startswith(TIMED):
        return Place(1, "processes")
    return Place(turn, path)  # a file stays together, for its tests share what they made
