"""Stored runs of locks and caches in which everything that their parts of a page tell has happened once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.reports import runs
from tests.reports.tapes import FAIL, INFO, MS, OK, SECOND, Tape

NASTY = (
    runs.HOSTILE,
    "${alert(1)}{{7*7}}{%import os%}<!--<svg onload=alert(1)>",
    "a\x00b\x1b[31m\u202egnp.exe\u2066\ufeff\u200b",
    "</title></style></textarea></script><script>document.body.dataset.owned='yes'</script>",
    "javascript:alert(1)//' onmouseover='alert(1)",
)
"""Values that would do something if anything but text were made of them."""
HUGE = "<b>huge</b>" * 100_000
"""1.1 MB."""


def lock_run(run: Path) -> Path:
    """Lock 0: a lease is outlived, another process holds it too, the first one writes late; lock 1 is fine."""
    tape = Tape()
    _grant(tape, 0, 1, 1.0, 2.0, token=7)
    _grant(tape, 1, 1, 2.5, 3.0, token=8)
    tape.add(
        2,
        "acquire",
        3 * SECOND,
        3 * SECOND + 500 * MS,
        FAIL,
        key=1,
        value=500,
        node="n3",
        error="Definite: held",
    )
    tape.add(3, "acquire", 4 * SECOND, 5 * SECOND, INFO, key=1, value=500, node="n1", error="timeout")
    # Granted until 5.8 s; the other holds it from 6.0 s, and a renewal of the first one was never made.
    _acquire(tape, 4, 0, 4.99, 5.0, token=20, ttl_ms=2_000)
    _acquire(tape, 5, 0, 5.5, 6.0, token=21, ttl_ms=2_000)
    _use(tape, 5, 0, 6.1, 6.2, token=21, until=8.0)
    _use(tape, 4, 0, 6.3, 7.1, token=20, until=6.99)
    tape.add(
        4,
        "release",
        8 * SECOND,
        8 * SECOND + 3 * MS,
        FAIL,
        key=0,
        value=20,
        node="n2",
        error="Definite: not held",
    )
    tape.add(5, "release", 8 * SECOND, 8 * SECOND + 4 * MS, key=0, value=21, node="n2")
    # A token that is not above one that was granted before.
    _grant(tape, 6, 0, 9.0, 9.5, token=19)
    return _stored(run, tape, "lock", {"kind": "mutex"})


def _grant(tape: Tape, process: int, lock: int, start: float, end: float, token: int) -> None:
    _acquire(tape, process, lock, start - 0.01, start, token, None)
    tape.add(process, "release", int(end * SECOND), int(end * SECOND) + MS, key=lock, value=token, node="n1")


def _acquire(
    tape: Tape, process: int, lock: int, called: float, got: float, token: int, ttl_ms: int | None
) -> None:
    result = {"token": token, "ttl_ms": ttl_ms}
    tape.add(
        process,
        "acquire",
        int(called * SECOND),
        int(got * SECOND),
        key=lock,
        value=500,
        result=result,
        node="n1",
    )


def _use(tape: Tape, process: int, lock: int, start: float, end: float, token: int, until: float) -> None:
    value = {"token": token, "until_ns": int(until * SECOND)}
    result = {"seen": token, "wrote": token + 1}
    tape.add(
        process,
        "use",
        int(start * SECOND),
        int(end * SECOND),
        key=lock,
        value=value,
        result=result,
        node="n1",
    )


def cache_run(run: Path, *, figures: dict[str, Any] | None = None) -> Path:
    """Ten puts of a key, one a second, and gets of which some are one, and one is five versions old."""
    tape = Tape()
    for second in range(10):
        tape.add(0, "put", second * SECOND, second * SECOND + 10 * MS, key=1, value=second + 1, node="n1")
        for number in range(1, 9):
            at = second * SECOND + number * 100 * MS
            behind = 5 if (second, number) == (8, 8) else int(number % 4 == 0 and second > 0)
            tape.add(
                number, "get", at, at + 5 * MS, key=1, result=second + 1 - behind, node=f"n{1 + number % 3}"
            )
    tape.add(9, "get", 10 * SECOND, 10 * SECOND + MS, key=1, result=4_711, node="n2")
    tape.add(9, "delete", 11 * SECOND, 11 * SECOND + MS, key=1, node="n2")
    options = {"consistency": "session", "staleness_bound_ms": 500}
    return _stored(run, tape, "cache", options, FIGURES if figures is None else figures)


FIGURES = {
    "hits": 60,
    "misses": 15,
    "bypasses": 5,
    "writes": 11,
    "hit_rate": 0.75,
    "origin_requests": 31,
    "origin_requests_per_operation": 0.34,
    "over_time": {
        "bucket_ms": 2_000,
        "hits": [10, 10, 12, 12, 16, 0],
        "misses": [5, 5, 2, 2, 1, 0],
        "bypasses": [1, 1, 1, 1, 1, 0],
        "writes": [2, 2, 2, 2, 2, 1],
    },
}


def _stored(
    run: Path, tape: Tape, workload: str, options: dict[str, Any], figures: dict[str, Any] | None = None
) -> Path:
    plan = runs.plan(workload=workload, options={"workload": options})
    stored = runs.store(
        run,
        test=runs.test_document(plan=plan),
        result=runs.results("valid", "every checker accepted the history", figures=figures or {}),
        history=tape.history(),
        faults=runs.faults_lines((("pause", ("n1",), 5.0, 7.0),)),
    )
    runs.logs(stored)
    return stored


def nasty_run(run: Path) -> Path:
    """Keys, values, tokens, nodes, errors, faults, figures and logs that would all like to be markup."""
    tape, place = Tape(), 0
    for number, text in enumerate((*NASTY, HUGE) * 2):
        at = number * 100 * MS
        common: dict[str, Any] = {"key": text, "node": text[:2_000]}
        tape.add(place, "acquire", at, at + 5 * MS, result={"token": text, "ttl_ms": 5}, value=text, **common)
        tape.add(
            place + 1, "acquire", at + 6 * MS, at + 7 * MS, result={"token": number, "ttl_ms": None}, **common
        )
        tape.add(place + 2, "acquire", at + 8 * MS, at + 9 * MS, result={"token": number - 1}, **common)
        tape.add(
            place + 2, "use", at + 10 * MS, at + 12 * MS, value={"token": number, "until_ns": at}, **common
        )
        tape.add(place + 2, "release", at + 20 * MS, at + 21 * MS, FAIL, error=text, **common)
        tape.add(place + 3, "put", at + 1 * MS, at + 2 * MS, value=text, **common)
        tape.add(place + 4, "put", at + 3 * MS, at + 4 * MS, value=[text], **common)
        tape.add(place + 5, "get", at + 30 * MS, at + 32 * MS, result=text, **common)
        tape.add(place + 6, "get", at + 30 * MS, at + 32 * MS, (OK, INFO)[number % 2], error=text, **common)
        place += 7
    history = tape.history()
    reason = NASTY[2] + HUGE
    example = {
        "key": NASTY[0],
        "reason": reason,
        "core": [0],
        "impossible": 0,
        "states": list(NASTY),
        "argument": list(NASTY),
        "needed": {"0": NASTY[1]},
        "operations": [runs.row_of(history, 0)],
    }
    check = {
        "verdict": "invalid",
        "reason": reason,
        "counterexamples": [example],
        "details": {NASTY[3]: HUGE},
    }
    stored = runs.store(
        run,
        test=runs.test_document(
            plan=runs.plan(
                target=NASTY[3], bug=NASTY[2], nodes=list(NASTY), options={NASTY[1]: {NASTY[0]: HUGE}}
            ),
            versions={NASTY[1]: NASTY[2]},
            replay=f"foreshock test {HUGE}",
        ),
        result=runs.results(
            "invalid",
            reason,
            checkers={NASTY[0]: check},
            harness_errors=[*NASTY, HUGE],
            figures={text: text for text in NASTY} | {"over_time": {"bucket_ms": NASTY[0], "hits": [HUGE]}},
            replay="",
        ),
        history=history,
        faults=runs.faults_lines(
            tuple((text, (text, text), 0.1 * place, 0.9) for place, text in enumerate(NASTY)),
            value=list(NASTY),
        ),
    )
    folder = stored / "nodes" / "x' onclick=alert(1) \u202e<b>"
    folder.mkdir(parents=True)
    (folder / "a#b?c%20<i>.log").write_bytes(
        b"".join(f"0.10{n} {text}\n".encode() for n, text in enumerate(NASTY))
    )
    return stored
