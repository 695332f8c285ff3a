"""Processes that do tasks: what comes of a task, of its worker, and of both when they are given up or die."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from foreshock.harness.process_pool import Ended, Note, ProcessPool

SECONDS_MAX = 60.0


class Newer:
    """What a worker of another version may answer: whoever reads it cannot make one."""

    def __reduce__(self) -> Any:
        return int, ("no", "such", "number")


def work(task: Any, note: Note) -> Any:
    """What the workers of these tests do."""
    if task == "die":
        print("first words\nlast words", file=sys.stderr, flush=True)
        os._exit(7)
    if task == "complain":
        print("something to complain of", file=sys.stderr, flush=True)
    if task == "die of one word":
        print("alas", file=sys.stderr, flush=True)
        os._exit(7)
    if task == "answer in riddles":
        return Newer()
    if task == "wait":
        note("waiting")
        signal.pause()
    if task == "print":
        print("not for stdout")
    return task, os.getpid(), os.getsid(0), os.getpriority(os.PRIO_PROCESS, 0)


def ended(pool: ProcessPool[str], count: int = 1) -> list[Ended[str]]:
    found: list[Ended[str]] = []
    while len(found) < count:
        found += pool.ended(0.1)
    return found


def test_workers_are_used_again_and_live_in_sessions_of_their_own(capfd: Any) -> None:
    with ProcessPool[str](work, seconds_max=SECONDS_MAX, niceness=3) as pool:
        pool.start("a", "print")
        (first,) = ended(pool)
        pool.start("b", 2)
        (second,) = ended(pool)
    assert (first.ticket, second.ticket, second.result[0]) == ("a", "b", 2)
    assert first.result[1:] == second.result[1:]
    _, pid, session, niceness = second.result
    assert pid == session != os.getsid(0)
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    assert capfd.readouterr().out == ""
    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110


def test_one_that_dies_says_how_and_what_it_said_last() -> None:
    with ProcessPool[str](work, seconds_max=SECONDS_MAX) as pool:
        pool.start("a", "die")
        pool.start("b", 1)
        found = {one.ticket: one for one in ended(pool, 2)}
    assert (
        found["a"].lost == "the process that ran it ended with exit code 7; the last that it said: last words"
    )
    assert not found["a"].stillborn
    assert found["b"].lost is None


def test_what_it_said_in_an_earlier_task_is_forgotten() -> None:
    with ProcessPool[str](work, seconds_max=SECONDS_MAX) as pool:
        pool.start("a", "complain")
        ended(pool)
        pool.start("b", "die of one word")
        (one,) = ended(pool)
    assert one.lost == "the process that ran it ended with exit code 7; the last that it said: alas"


def test_one_that_takes_too_long_is_given_up_and_what_it_noted_is_known() -> None:
    with ProcessPool[str](work, seconds_max=SECONDS_MAX) as pool:
        worker = pool.start("a", "wait")
        while worker.note is None:
            assert list(pool.ended(SECONDS_MAX)) == []
        assert worker.note == "waiting"
        worker.seconds_max = 0.0
        (one,) = ended(pool)
        assert one.lost == "it took longer than 0 s and was given up"
        assert pool.under_way() == []
        assert worker.process.exitcode == -signal.SIGKILL


def test_a_worker_that_cannot_be_started_is_told_from_one_that_died_at_work() -> None:
    with ProcessPool[str](work, seconds_max=SECONDS_MAX) as pool:
        worker = pool.start("a", 1)
        worker.process.kill()
        (one,) = ended(pool)
        assert one.stillborn  # Python itself takes longer to start
        assert "signal SIGKILL" in (one.lost or "")


def test_an_answer_that_cannot_be_understood_costs_its_own_task() -> None:
    with ProcessPool[str](work, seconds_max=SECONDS_MAX) as pool:
        pool.start("a", "answer in riddles")
        pool.start("b", 1)
        found = {one.ticket: one for one in ended(pool, 2)}
    assert found["a"].lost is not None
    assert found["a"].lost.startswith("what its process answered cannot be understood: TypeError")
    assert found["b"].result[0] == 1
