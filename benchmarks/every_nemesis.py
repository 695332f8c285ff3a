"""Every nemesis on a backend, one after the other: ``python -m benchmarks.every_nemesis --backend docker``.

Each is one run of ``foreshock test --target raft``, as a user would type it, with the nemeses that ``foreshock list``
knows. A nemesis that the backend does not offer must be refused before anything is deployed (exit code 4). One that it
offers must end valid, with at least one fault in the ledger, each verified and each healed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.every_target import SHOWN_MAX, tested
from foreshock.harness.ledger import Fault, read_ledger
from foreshock.harness.registry import Kind, names
from foreshock.harness.store import FAULTS
from foreshock.harness.verdict import ExitCode

SEEDS_MAX = 3
"""So many tests until one has a fault in it: some find nothing to strike in a short time."""


class Row(NamedTuple):
    """How one nemesis fared."""

    sign: str
    outcome: str
    ledger: str
    reason: str = ""


def judge(arguments: Sequence[str], store: str) -> Row:
    """Run the test, and judge its verdict and its ledger."""
    row = Row("✗", "no fault", "")
    for seed in range(1, 1 + SEEDS_MAX):
        document = tested([*arguments, "--seed", str(seed)], store)
        if document["exit"] == ExitCode.USAGE:
            return Row("-", "not offered", "", str(document.get("reason", "")))
        outcome = f"{document['verdict']} ({document['exit']})"
        errors = "; ".join(document.get("harness_errors", ()))
        if document["exit"] != ExitCode.VALID or errors:
            return Row("✗", outcome, "", errors or str(document.get("reason", "")))
        faults = read_ledger(Path(document["run"]) / FAULTS)
        row = Row("✗" if wrong(faults) else "✓", outcome, told(faults), wrong(faults))
        if faults:
            break
    return row


def wrong(faults: Sequence[Fault]) -> str:
    """What is wrong with a ledger, in a few words; nothing when all is right."""
    if not faults:
        return "no fault was injected"
    found = [
        f"{fault.kind} (number {fault.id}) was {said}"
        for fault in faults
        for said, bad in (
            ("not verified", fault.verified_ns is None),
            ("not healed", fault.is_open),
            (f"a failure: {fault.failure}", fault.failure is not None),
        )
        if bad
    ]
    return "; ".join(found)


def told(faults: Sequence[Fault]) -> str:
    """How many faults there were, and how long it took the slowest to be verified."""
    verified = [fault.verified_ns - fault.planned_ns for fault in faults if fault.verified_ns is not None]
    slowest_ms = max(verified, default=0) // 1_000_000
    return f"{len(faults)} faults, verified within {slowest_ms} ms"


def main() -> int:
    """Run them all and print a table; 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", default="sim", help="where (default: sim)")
    parser.add_argument("--target", default="raft")
    parser.add_argument("--time-limit", type=float, default=15.0, help="seconds of each test (default: 15)")
    parser.add_argument("--nodes", help="names of hosts, for ssh")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("nemeses", nargs="*", metavar="NEMESIS", help="only these")
    given = parser.parse_args()
    shared = ["--target", given.target, "--workload", "register", "--backend", given.backend]
    shared += ["--time-limit", f"{given.time_limit:g}", "--interval", "3"]
    shared += ["--nodes", given.nodes] if given.nodes else []
    shared += [word for option in given.options for word in ("-o", option)]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="foreshock-every-") as store:
        for name in given.nemeses or names(Kind.NEMESES):
            began = time.perf_counter()
            row = judge([*shared, "--nemesis", name], store)
            bad += row.sign == "✗"
            seconds = time.perf_counter() - began
            print(f"{row.sign} {name:<14}{row.outcome:<16}{row.ledger:<42}{seconds:>7.1f} s", flush=True)
            if row.reason:
                print(f"    {row.reason[:SHOWN_MAX]}", flush=True)
    print(f"{bad} not as they should be" if bad else "all as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
