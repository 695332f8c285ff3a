"""Every target with every workload that it serves: ``python -m benchmarks.every_target --backend docker``.

Each is one run of ``foreshock test``, as a user would type it. A target must end valid, but the naive ones, which must
be convicted: they get the nemesis of their exhibit, and a few seeds. Exit code 0 only when all is as it should be.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from foreshock.harness.registry import Kind, broken, load, names
from foreshock.harness.target import Target

NAIVE = "naive-"
SEEDS_MAX = 4
"""So many tests may a naive target take until it is convicted."""
TEST_SECONDS_MAX = 600.0
SHOWN_MAX = 110


class Combination(NamedTuple):
    """A target with a workload that it serves."""

    target: str
    workload: str
    simulated: bool
    """Whether it can be simulated."""
    nemesis: str = "none"

    @property
    def naive(self) -> bool:
        """Whether it must be convicted, not survive."""
        return self.target.startswith(NAIVE)


class Row(NamedTuple):
    """How one combination ended."""

    combination: Combination
    good: bool
    outcome: str
    ok: int
    seconds: float
    reason: str


def combinations(targets: Sequence[str]) -> Iterator[Combination]:
    """Each of the targets with each workload whose service it offers, as ``foreshock list`` says."""
    for target in targets:
        kind: type[Target[Any]] = load(Kind.TARGETS, target)
        nemesis = kind.exhibits[0].request.nemesis if target.startswith(NAIVE) else "none"
        for workload in names(Kind.WORKLOADS):
            if load(Kind.WORKLOADS, workload).service in kind.services:
                yield Combination(target, workload, kind.can_simulate(), nemesis)


def run(combination: Combination, backend: str, seed: int, time_limit: float, store: str) -> dict[str, Any]:
    """The JSON document of one test; one of our own where there is none."""
    arguments = ["--target", combination.target, "--workload", combination.workload, "--backend", backend]
    arguments += ["--nemesis", combination.nemesis, "--time-limit", f"{time_limit:g}", "--interval", "2"]
    return tested([*arguments, "--seed", str(seed)], store)


def tested(arguments: Sequence[str], store: str) -> dict[str, Any]:
    """The JSON document of ``foreshock test`` with these arguments; one of our own where there is none."""
    command = [sys.executable, "-m", "foreshock", "test", *arguments]
    try:
        done = subprocess.run(
            [*command, "--store", store, "--no-report", "--json"],
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"exit": 3, "verdict": "no end", "reason": f"no end within {TEST_SECONDS_MAX:g} s"}
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"exit": done.returncode, "verdict": "no verdict", "reason": done.stderr.strip()[-SHOWN_MAX:]}
    if "verdict" not in document:
        return {
            "exit": done.returncode,
            "verdict": "no verdict",
            "reason": document.get("error", done.stdout),
        }
    return document


def judge(combination: Combination, backend: str, time_limit: float, store: str) -> Row:
    """One test, or for a naive target up to some until one convicts."""
    began = time.perf_counter()
    document: dict[str, Any] = {}
    wanted = 1 if combination.naive else 0
    for seed in range(1, 1 + (SEEDS_MAX if combination.naive else 1)):
        document = run(combination, backend, seed, time_limit, store)
        if document["exit"] == wanted or document["exit"] > 1:
            break
    errors = "; ".join(document.get("harness_errors", ()))
    return Row(
        combination=combination,
        good=document["exit"] == wanted and not errors,
        outcome=f"{document['verdict']} ({document['exit']})",
        ok=document.get("operations", {}).get("ok", 0),
        seconds=time.perf_counter() - began,
        reason=errors or str(document.get("reason", "")),
    )


def main() -> int:
    """Run the matrix and print it; 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=("sim", "process", "docker"), default="sim")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds of each test (default: 10)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these targets")
    given = parser.parse_args()
    known = names(Kind.TARGETS)
    for name in given.targets:
        if name not in known:
            parser.error(f"there is no target {name!r}: known are {', '.join(known)}")
    print(f"{'':2}{'target':<14}{'workload':<10}{'nemesis':<11}{'outcome':<20}{'ok':>7}{'seconds':>9}")
    missing = {
        name: reason
        for name, reason in broken(Kind.TARGETS).items()
        if name in given.targets or not given.targets
    }
    for name, reason in missing.items():
        print(f"✗ {name:<14}{reason[:SHOWN_MAX]}", flush=True)
    bad = len(missing)
    chosen = [name for name in given.targets or known if name not in missing]
    with tempfile.TemporaryDirectory(prefix="foreshock-every-") as store:
        for combination in combinations(chosen):
            target, workload, simulated, nemesis = combination
            start = f"{target:<14}{workload:<10}{nemesis:<11}"
            if given.backend == "sim" and not simulated:
                print(f"- {start}on real nodes only", flush=True)
                continue
            row = judge(combination, given.backend, given.time_limit, store)
            bad += not row.good
            sign = "✓" if row.good else "✗"
            print(f"{sign} {start}{row.outcome:<20}{row.ok:>7}{row.seconds:>9.1f}", flush=True)
            if not row.good:
                print(f"    {row.reason[:SHOWN_MAX]}", flush=True)
    print(f"{bad} not as they should be" if bad else "all as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
