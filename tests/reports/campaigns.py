"""Stored campaigns, made by hand: small and failing, under way, flaky, hostile, and as large as ten thousand tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.reports import runs

from foreshock.harness.campaign.document import (
    CAMPAIGN,
    CAMPAIGNS,
    Attempt,
    CampaignDocument,
    CampaignRow,
    Group,
    Outcome,
)
from foreshock.harness.store import write_json
from foreshock.harness.summary import TestSummary

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
VERDICTS: dict[str, str] = {
    "passed": "valid",
    "failed": "invalid",
    "flaky": "invalid",
    "unknown": "unknown",
    "error": "unknown",
}
REASON = "linearizable: key 9 is not linearizable: read 4 by process 2 (events 901-902) cannot be explained"
CORE = ("write ok", "cas ok", "read ok x2")


def cell(
    target: str = "raft",
    workload: str = "register",
    nemesis: str = "kill",
    backend: str = "sim",
    bug: str = "",
) -> dict[str, str]:
    return {"target": target, "workload": workload, "nemesis": nemesis, "backend": backend, "bug": bug}


def summary(
    place: dict[str, str], seed: int, verdict: str, run: str, started: datetime, **changes: object
) -> TestSummary:
    values: dict[str, object] = {
        "run": run,
        "target": place["target"],
        "workload": place["workload"],
        "nemeses": tuple(place["nemesis"].split(",")),
        "backend": place["backend"],
        "bug": place["bug"] or None,
        "seed": seed,
        "verdict": verdict,
        "exit": {"valid": 0, "invalid": 1, "unknown": 2}[verdict],
        "reason": REASON if verdict == "invalid" else f"every checker said {verdict}",
        "checker": "linearizable" if verdict == "invalid" else "",
        "core": CORE if verdict == "invalid" else (),
        "faults_in_force": ("partition",),
        "operations": {"ok": 900, "fail": 40, "info": 10},
        "faults": {"kill": 4},
        "started": started.isoformat(),
        "duration_s": 1.0,
        "replay": f"foreshock test --target {place['target']} --workload {place['workload']} --seed {seed}",
    }
    return TestSummary(**{**values, **changes})  # type: ignore[arg-type]


def row(
    place: dict[str, str],
    seed: int,
    outcome: Outcome = "passed",
    *,
    run: str = "",
    start_s: float = 0.0,
    seconds: float = 1.0,
    worker: str = "worker 1",
    **changes: object,
) -> CampaignRow:
    key = "/".join((*place.values(), str(seed)))
    if outcome in ("waiting", "running"):
        return CampaignRow(key=key, cell=place, seed=seed, outcome=outcome)
    began = START + timedelta(seconds=start_s)
    words = {"failed": ("invalid",) * 3, "flaky": ("invalid", "valid", "valid")}.get(
        outcome, (VERDICTS[outcome],)
    )
    attempts = []
    for number, verdict in enumerate(words, start=1):
        found = summary(
            place, seed, verdict, run, began + timedelta(seconds=(number - 1) * seconds), **changes
        )
        error = "the node n3 did not become healthy within 60 s" if outcome == "error" else ""
        attempts.append(
            Attempt(
                number=number, worker=worker, seconds=seconds, summary=None if error else found, error=error
            )
        )
    return CampaignRow(
        key=key, cell=place, seed=seed, outcome=outcome, verdict=VERDICTS[outcome], attempts=tuple(attempts)
    )


def document(directory: Path, rows: Sequence[CampaignRow], **changes: object) -> CampaignDocument:
    axes = {
        axis: tuple(dict.fromkeys(each.cell.get(axis, "") for each in rows))
        for axis in dict.fromkeys(axis for each in rows for axis in each.cell)
    }
    done = sum(each.outcome not in ("waiting", "running") for each in rows)
    failed = sum(each.outcome == "failed" for each in rows)
    values: dict[str, object] = {
        "name": "nightly",
        "directory": str(directory),
        "exit": 1 if failed else 0,
        "verdict": "invalid" if failed else "valid",
        "complete": done == len(rows),
        "summary": f"{failed} of {len(rows)} tests failed" if failed else f"all {len(rows)} tests passed",
        "started": START.isoformat(),
        "seconds": 95.0,
        "planned": len(rows),
        "done": done,
        "jobs": 2,
        "command": "foreshock campaign nightly.toml",
        "axes": axes,
        "rows": tuple(rows),
    }
    return CampaignDocument(**{**values, **changes})  # type: ignore[arg-type]


def group(rows: Iterable[CampaignRow], **changes: object) -> Group:
    members = list(rows)
    newest = members[0].attempts[-1].summary
    assert newest is not None
    values: dict[str, object] = {
        "checker": newest.checker,
        "core": newest.core,
        "faults": newest.faults_in_force,
        "tests": tuple(member.key for member in members),
        "newest": newest.started,
        "verdict": newest.verdict,
        "reason": newest.reason,
        "run": newest.run,
        "replay": newest.replay,
    }
    return Group(**{**values, **changes})  # type: ignore[arg-type]


def write(directory: Path, content: CampaignDocument) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / CAMPAIGN, content)
    return directory


def folder(store: Path, name: str = "20260105T090000-aaaaaa") -> Path:
    return store / CAMPAIGNS / "nightly" / name


def failing_campaign(store: Path, name: str = "20260105T090000-aaaaaa") -> Path:
    """Two targets, two workloads, two nemeses: one field fails, and every other kind of outcome is there too."""
    kept = store / "raft-register-kill" / "20260105T090001-abc123"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "report.html").write_text("<!doctype html><title>kept</title><p id=kept>the report of the test")
    directory, rows, at = folder(store, name), [], 0.0
    for target in ("raft", "zab"):
        for workload in ("register", "lock"):
            for nemesis in ("kill", "partition,kill"):
                for seed in range(6):
                    place = cell(target, workload, nemesis)
                    bad = (target, workload, nemesis) == ("raft", "register", "kill") and seed < 2
                    outcome: Outcome = "failed" if bad else "passed"
                    if target == "zab" and workload == "lock" and nemesis == "kill":
                        outcome = {0: "flaky", 1: "unknown", 2: "error"}.get(seed, "passed")  # type: ignore[assignment]
                    run = str(kept) if bad and seed == 0 else str(store / "gone" / str(len(rows)))
                    rows.append(
                        row(
                            place,
                            seed,
                            outcome,
                            run=run,
                            start_s=at,
                            seconds=0.5 + seed / 4,
                            worker=f"worker {len(rows) % 2 + 1}",
                        )
                    )
                    at += 1.0
    failed = [each for each in rows if each.outcome == "failed"]
    return write(directory, document(directory, rows, groups=(group(failed),)))


def passing_campaign(store: Path, name: str = "20260104T090000-bbbbbb") -> Path:
    """One target, one workload, one nemesis: all is well."""
    directory = folder(store, name)
    started = (START - timedelta(days=1)).isoformat()
    return write(directory, document(directory, [row(cell(), seed) for seed in range(4)], started=started))


def campaign_under_way(store: Path) -> Path:
    """Half of it is done, one test runs."""
    directory = folder(store)
    outcomes: list[Outcome] = ["passed", "passed", "running", "waiting", "waiting"]
    rows = [row(cell(), seed, outcome) for seed, outcome in enumerate(outcomes)]
    changes = {"summary": "2 of 5 tests are done, none failed", "verdict": "unknown"}
    return write(directory, document(directory, rows, **changes))


def hostile_campaign(store: Path) -> Path:
    """Every word that anybody may choose is hostile."""
    directory = folder(store)
    bad = runs.HOSTILE
    place = dict.fromkeys(cell(), bad)
    failed = row(
        place,
        3,
        "failed",
        run=bad,
        worker=bad,
        reason=bad,
        checker=bad,
        core=(bad,),
        faults_in_force=(bad,),
        replay=bad,
    )
    error = Attempt(number=1, error=bad, worker=bad)
    rows = [failed, CampaignRow(key=bad, cell=place, seed=4, outcome="error", attempts=(error,))]
    changes = {"name": bad, "summary": bad, "command": bad, "shard": bad, "harness_errors": (bad,)}
    return write(directory, document(directory, rows, groups=(group([failed]),), **changes))


def large_campaign(store: Path, tests: int = 10_000) -> Path:
    """Ten targets, five workloads, ten nemeses; one test in forty fails, some are flaky."""
    directory, rows = folder(store), []
    nemeses = (
        "kill",
        "pause",
        "partition",
        "clock",
        "disk",
        "packet",
        "partition,kill",
        "kill,pause",
        "power",
        "none",
    )
    for number in range(tests):
        target, workload, nemesis = number % 10, number // 10 % 5, number // 50 % 10
        place = cell(f"target-{target}", f"workload-{workload}", nemeses[nemesis])
        outcome: Outcome = "failed" if number % 40 == 7 else "flaky" if number % 400 == 11 else "passed"
        seconds = 0.2 + number * 7919 % 997 / 500
        run = str(
            store
            / f"target-{target}-workload-{workload}-{nemeses[nemesis]}"
            / f"20260105T{number:06d}-abc123"
        )
        rows.append(
            row(
                place,
                number // 500,
                outcome,
                run=run,
                start_s=number * 0.6,
                seconds=seconds,
                worker=f"worker {number % 2 + 1}",
            )
        )
    failed = [each for each in rows if each.outcome == "failed"]
    groups = tuple(group(failed[at : at + 10], core=(f"read ok x{at}",)) for at in range(0, len(failed), 10))
    return write(directory, document(directory, rows, groups=groups, seconds=6_100.0))
