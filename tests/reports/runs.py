"""Stored runs built by code: what the harness leaves on disk, in every state that a report must bear."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.reports.tapes import (
    FAIL,
    INFO,
    MS,
    NODES,
    OK,
    PARTITIONS,
    SECOND,
    Tape,
    lock_tape,
    register_tape,
    stale_read_tape,
)

from foreshock.harness.history import History

HOSTILE = (
    "</script><script>document.body.dataset.owned='yes'</script><img src=x onerror=alert(1)>{{7*7}}\u2028'\"&"
)
SHADES = [
    {"name": "partition", "color": "#E9A0A0", "starts": ["start-partition"], "stops": ["stop-partition"]},
    {"name": "kill", "color": "#A0B1E9", "starts": ["kill"], "stops": ["restart"]},
    {"name": "pause", "color": "#A8D5A2", "starts": ["pause"], "stops": ["resume"]},
]
REPLAY = "foreshock test --target raft --workload register --nemesis partition,kill --backend sim --seed 7"


def plan(**changes: Any) -> dict[str, Any]:
    return {
        "target": "raft",
        "workload": "register",
        "nemeses": ["partition", "kill"],
        "backend": "sim",
        "nodes": list(NODES),
        "concurrency": 10,
        "rate": 100.0,
        "time_limit_s": 60.0,
        "interval_s": 5.0,
        "seed": 7,
        "bug": None,
        "options": {
            "target": {"heartbeat_ms": 50, "prevote": True, "snapshot_after_entries": 1000},
            "workload": {"keys": 5, "updates_per_key": 200},
            "partition": {"kinds": ["one", "majority", "ring"]},
        },
        "operation_timeout_ms": 5000,
    } | changes


def test_document(**changes: Any) -> dict[str, Any]:
    return {
        "run": "20260101T120000-abc123",
        "plan": plan(),
        "versions": {"foreshock": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
        "argv": ["foreshock", "test", "--target", "raft"],
        "started": "2026-01-01T12:00:00.250000+00:00",
        "shades": SHADES,
        "replay": REPLAY,
    } | changes


def results(verdict: str, reason: str, **changes: Any) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "exit": {"valid": 0, "invalid": 1, "unknown": 2}[verdict],
        "reason": reason,
        "run": "store/run",
        "seed": 7,
        "target": "raft",
        "workload": "register",
        "nemeses": ["partition", "kill"],
        "backend": "sim",
        "bug": None,
        "operations": {"ok": 1, "fail": 0, "info": 0},
        "faults": {"partition": 2},
        "checkers": {},
        "harness_errors": [],
        "duration_s": 63.2,
        "interrupted": False,
        "replay": REPLAY,
    } | changes


def faults_lines(faults: Iterable[tuple[str, tuple[str, ...], float, float | None]], **extra: Any) -> str:
    """The ledger of faults given as kind, nodes, start and end in seconds (``None``: never healed)."""
    events: list[tuple[float, dict[str, Any]]] = []
    for number, (kind, nodes, start, end) in enumerate(faults):
        rest = [node for node in NODES if node not in nodes]
        grudge = dict.fromkeys(nodes, rest) | dict.fromkeys(rest, nodes) if kind == "partition" else None
        planned = {"event": "planned", "id": number, "kind": kind, "nodes": nodes, "value": grudge} | extra
        events.append((start, planned | {"inverse": {"op": "undo"}, "planned_ns": int(start * SECOND)}))
        verified = {"event": "verified", "id": number, "time_ns": int((start + 0.02) * SECOND)}
        events.append((start + 0.02, verified | {"observation": "as planned"}))
        if end is not None:
            events.append((end, {"event": "healed", "id": number, "time_ns": int(end * SECOND)}))
    return "".join(json.dumps(event) + "\n" for _, event in sorted(events, key=lambda event: event[0]))


def logs(run: Path, *, around_s: float = 10.0) -> None:
    for node in NODES:
        folder = run / "nodes" / node
        folder.mkdir(parents=True)
        lines = []
        for number in range(600):
            at_s = number * 0.1
            second, fraction = divmod(at_s + 0.25, 60)
            stamp = f"2026-01-01T12:{int(second):02d}:{fraction:06.3f}Z"
            if abs(at_s - around_s) < 0.05:
                lines.append(f"{stamp} {node} WARN  term 4: cannot reach a majority, stepping down")
            else:
                lines.append(f"{stamp} {node} INFO  heartbeat {number} to 4 peers, commit index {number * 3}")
        (folder / "node.log").write_text("\n".join(lines) + "\n")


def store(
    run: Path,
    *,
    test: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    history: History | None = None,
    faults: str = "",
    parquet: bool = False,
) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    (run / "test.json").write_text(json.dumps(test_document() if test is None else test))
    if result is not None:
        (run / "results.json").write_text(json.dumps(result))
    if history is not None:
        history.write_jsonl(run / "history.jsonl")
        if parquet:
            history.write_parquet(run / "history.parquet")
    (run / "faults.jsonl").write_text(faults)
    return run


def statistics() -> dict[str, Any]:
    around = [
        {
            "fault": 0,
            "kind": "partition",
            "nodes": ["n1", "n2"],
            "before": 1.0,
            "during": 0.91,
            "after": 0.998,
            "recovery_ms": 412.5,
        },
        {
            "fault": 1,
            "kind": "kill",
            "nodes": ["n3"],
            "before": 1.0,
            "during": 0.95,
            "after": 1.0,
            "recovery_ms": None,
        },
    ]
    return {
        "verdict": "valid",
        "reason": "1,500 operations: 1,101 ok, 420 fail, 279 info",
        "method": "counting",
        "seconds": 0.031,
        "details": {
            "by_f": {"read": {"ok": 3000, "fail": 0, "info": 100}},
            "errors": [{"type": "info", "error": "timeout after … ms", "count": 77}, {"type": "odd"}, None],
            "availability": {"by_node": {"n1": 0.98}, "around_faults": around},
        },
    }


def valid_run(run: Path, *, count: int = 1500) -> Path:
    checkers = {
        "linearizable": {
            "verdict": "valid",
            "reason": "all 5 keys are linearizable",
            "method": "zones over clusters",
            "seconds": 0.0123,
            "details": {"keys": 5, "configurations": 0},
        },
        "statistics": statistics(),
    }
    logs_run = store(
        run,
        result=results(
            "valid", "all 5 keys are linearizable, and every checker accepted the history", checkers=checkers
        ),
        history=register_tape(count).history(),
        faults=faults_lines(PARTITIONS),
    )
    logs(logs_run)
    return run


def row_of(history: History, index: int) -> dict[str, Any]:
    row = next(row for row in history if row.invoke_index == index)
    return {name: value for name, value in row._asdict().items() if value is not None}


def invalid_register_run(
    run: Path, *, with_rows: bool = True, count: int = 1500, parquet: bool = False
) -> Path:
    tape = register_tape(count)
    stale_read_tape(tape, 10 * SECOND)
    history = tape.history()
    mine = [row for row in history if row.key == 9]
    first, early, lost, second, late, stale = (row.invoke_index for row in mine)
    example: dict[str, Any] = {
        "key": 9,
        "reason": "key 9: process 104 read 901 after process 102 had replaced it by 902",
        "core": [first, second, stale],
        "impossible": stale,
        "states": ["902", "903"],
        "needed": {str(stale): "the value to be 901"},
        "prefix": [first, early, second, late, lost],
    }
    if with_rows:
        example["operations"] = [row_of(history, row.invoke_index) for row in mine]
    checkers = {
        "statistics": statistics(),
        "linearizable": {
            "verdict": "invalid",
            "reason": "key 9 of 6 is not linearizable: process 104 read 901 after process 102 had replaced it by 902",
            "method": "windowed search",
            "seconds": 0.84,
            "details": {"keys": 6, "illegal": [9]},
            "counterexamples": [example],
        },
    }
    store(
        run,
        test=test_document(plan=plan(bug="raft/stale-leader-reads")),
        result=results(
            "invalid",
            "linearizable: key 9 is not linearizable: process 104 read 901 after process 102 had replaced it by 902",
            checkers=checkers,
            harness_errors=["the fault kill on n3 failed: n3 did not answer for 5 s after its restart"],
        ),
        history=history,
        faults=faults_lines(PARTITIONS),
        parquet=parquet,
    )
    logs(run)
    return run


def invalid_lock_run(run: Path) -> Path:
    history = lock_tape(10 * SECOND).history()
    mine = [row for row in history if row.key == "ledger"]
    one, other, *_ = (row.invoke_index for row in mine)
    example = {
        "key": "ledger",
        "reason": "processes 7 and 8 both held the lock",
        "core": [one, other],
        "impossible": other,
        "states": ["held by 7"],
        "needed": {str(other): "the lock to be free"},
        "operations": [row_of(history, row.invoke_index) for row in mine],
    }
    check = {
        "verdict": "invalid",
        "reason": "lock 'ledger' had two holders for 43 ms",
        "method": "hold cores",
        "seconds": 0.002,
    }
    store(
        run,
        test=test_document(plan=plan(workload="lock", nemeses=["pause"])),
        result=results(
            "invalid",
            "mutex: lock 'ledger' had two holders for 43 ms",
            checkers={"mutex": check | {"counterexamples": [example]}},
        ),
        history=history,
        faults=faults_lines((("pause", ("n2",), 9.0, 12.0),)),
    )
    return run


def hostile_run(run: Path) -> Path:
    """A history, plan, ledger and logs full of markup that must stay text."""
    tape = Tape()
    for number in range(40):
        at = number * 50 * MS
        kind = (OK, FAIL, INFO)[number % 3]
        tape.add(
            number,
            HOSTILE,
            at,
            at + 9 * MS,
            kind,
            key=HOSTILE,
            value=HOSTILE,
            result=[HOSTILE],
            node=HOSTILE,
            error=HOSTILE,
        )
    history = tape.history()
    example = {
        "key": HOSTILE,
        "reason": HOSTILE,
        "core": [0],
        "impossible": 0,
        "states": [HOSTILE],
        "needed": {"0": HOSTILE},
        "prefix": [],
        "operations": [row_of(history, 0) | {"label": HOSTILE}],
    }
    check = {
        "verdict": "invalid",
        "reason": HOSTILE,
        "method": HOSTILE,
        "seconds": 1,
        "details": {HOSTILE: HOSTILE},
    }
    faults = faults_lines(((HOSTILE, (HOSTILE,), 0.1, 0.9),), value=HOSTILE)
    shade = {"name": HOSTILE, "color": "red;background:url(//x)", "starts": [], "stops": []}
    store(
        run,
        test=test_document(
            plan=plan(target=HOSTILE, options={HOSTILE: {HOSTILE: HOSTILE}}),
            versions={HOSTILE: HOSTILE},
            shades=[shade],
            replay=f"foreshock test {HOSTILE}",
        ),
        result=results(
            "invalid",
            HOSTILE,
            checkers={HOSTILE: check | {"counterexamples": [example]}},
            harness_errors=[HOSTILE],
            replay=HOSTILE,
        ),
        history=history,
        faults=faults,
    )
    folder = run / "nodes" / "n1"
    folder.mkdir(parents=True)
    (folder / "a <b> & 'c'.log").write_text(f"0.004 {HOSTILE}\n0.010 \x1b[31mred\x1b[0m\x00\n")
    return run


def killed_run(run: Path) -> Path:
    """What ``kill -9`` of the harness leaves: no results, open faults, invocations without completions, torn lines."""
    tape = register_tape(2000, 20.0)
    for process in range(5):
        tape.add(
            500 + process,
            "write",
            20 * SECOND + process * MS,
            None,
            INFO,
            key=1,
            value=9000 + process,
            node="n1",
        )
    store(
        run,
        history=tape.history(),
        faults=faults_lines((("partition", ("n1",), 6.0, 14.0), ("kill", ("n2",), 17.0, None))),
    )
    for name in ("history.jsonl", "faults.jsonl"):
        with (run / name).open("a") as file:
            file.write('{"index": 99999, "type": "inv')
    return run


def empty_run(run: Path) -> Path:
    return store(
        run,
        result=results(
            "unknown",
            "nothing was recorded, so nothing is known: the cluster did not become healthy in 60 s",
            harness_errors=["the cluster did not become healthy in 60 s: n4 refused connections"],
        ),
    )


def single_run(run: Path) -> Path:
    tape = Tape()
    tape.add(0, "write", 1_000, 2_000, key=0, value=1, node="n1")
    return store(run, result=results("valid", "1 operation is linearizable"), history=tape.history())
