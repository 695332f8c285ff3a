"""Mutual exclusion as clients believed it, as tokens tell it, and as the guarded resource felt it."""

from __future__ import annotations

import random
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from tests.checkers.lock_rows_and_columns import CHECKERS, both, compare_rows_with_columns
from tests.checkers.planted import Planted
from tests.checkers.random_histories import context

from foreshock.checkers import bearers, beliefs, uses
from foreshock.checkers.fencing import FencingChecker
from foreshock.checkers.guarded_resource import GuardedResourceChecker
from foreshock.checkers.mutex import MutexChecker, beliefs_of
from foreshock.harness.checker import Checker
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

MS = 1_000_000


class Script:
    """A lock history written down event by event; each event is 10 ms after the one before."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.open: dict[int, int] = {}
        self.told: dict[int, Any] = {}
        self.index = 0
        self.ms = 0

    def call(self, process: int, f: str, value: Any = None, key: Any = 1) -> Script:
        row = {"process": process, "f": f, "key": key, "value": value, "type": OperationType.INFO}
        self.rows[self.index] = {**row, "invoke_index": self.index, "invoke_ns": self.ms * MS}
        self.open[process] = self.index
        return self._next()

    def ok(self, process: int, result: Any = None) -> Script:
        return self._end(process, OperationType.OK, result)

    def fail(self, process: int) -> Script:
        return self._end(process, OperationType.FAIL, None)

    def info(self, process: int) -> Script:
        return self._end(process, OperationType.INFO, None)

    def wait(self, ms: int) -> Script:
        self.ms += ms
        return self

    def did(self, process: int, f: str, value: Any = None, result: Any = None, key: Any = 1) -> Script:
        return self.call(process, f, value, key).ok(process, result)

    def acquired(
        self, process: int, token: int | None = None, ttl_ms: int | None = None, key: Any = 1
    ) -> Script:
        return self.did(process, "acquire", 0, {"token": token, "ttl_ms": ttl_ms}, key)

    def history(self) -> History:
        return History.of(Row(**row) for row in self.rows.values())

    def _end(self, process: int, kind: OperationType, result: Any) -> Script:
        row = self.rows[self.open.pop(process)]
        row.update(type=kind, result=result, complete_index=self.index, complete_ns=self.ms * MS)
        return self._next()

    def _next(self) -> Script:
        self.index += 1
        self.ms += 10
        return self


def exclusive(script: Script, **options: Any) -> bool:
    return MutexChecker(**options).check(script.history(), context()).verdict is Verdict.VALID


def test_one_holder_after_another_is_fine() -> None:
    assert exclusive(Script().acquired(1).did(1, "release").acquired(2).did(2, "release").acquired(1))


def test_two_holders_at_once_are_the_counterexample() -> None:
    result = MutexChecker().check(
        Script().acquired(1, 5).acquired(2, 6).did(1, "release", 5).history(), context()
    )
    assert result.verdict is Verdict.INVALID
    (found,) = result.counterexamples
    assert (found.key, found.core, found.impossible) == (1, (0, 2), 2)
    assert "processes 1 and 2 both believed that they held lock 1" in result.reason
    assert [row["label"] for row in found.operations] == [
        "acquire -> token 5",
        "acquire -> token 6",
        "release token 5",
    ]


@pytest.mark.parametrize(
    ("ttl_ms", "given_back_after_ms", "until"),
    [
        (None, None, "for ever"),
        (None, 50, "until event 4"),  # by its release, which is what a reader of the history finds there
        (10_000, 50, "until event 4"),
        (40, 500, "until its grant ran out at 0.040 s"),
        (40, None, "until its grant ran out at 0.040 s"),
    ],
)
def test_it_is_said_until_when_the_first_holder_believed(
    ttl_ms: int | None, given_back_after_ms: int | None, until: str
) -> None:
    script = Script().acquired(1, ttl_ms=ttl_ms).acquired(2)
    if given_back_after_ms is not None:
        script.wait(given_back_after_ms).did(1, "release")
    result = MutexChecker().check(script.history(), context())
    assert f"both believed that they held lock 1: 1 from event 1 {until}, 2 from event 3" in result.reason


def test_locks_of_different_names_do_not_exclude_each_other() -> None:
    assert exclusive(Script().acquired(1, key="a").acquired(2, key="b"))
    result = MutexChecker().check(
        Script()
        .acquired(1, key="a")
        .acquired(2, key="a")
        .acquired(3, key="b")
        .acquired(4, key="b")
        .history(),
        context(),
    )
    assert [found.key for found in result.counterexamples] == ["a", "b"]


def test_who_never_releases_holds_for_ever() -> None:
    assert not exclusive(Script().acquired(1).wait(10**6).acquired(2))


def test_belief_ends_at_the_call_of_release_however_it_ends() -> None:
    granted = Script().acquired(1).call(1, "release").acquired(2)
    assert exclusive(granted)
    assert exclusive(Script().acquired(1).call(1, "release").acquired(2).fail(1))
    assert exclusive(Script().acquired(1).call(1, "release").acquired(2).info(1))


def test_an_acquire_that_overlaps_the_release_may_be_granted_only_after_its_call() -> None:
    assert exclusive(Script().acquired(1).call(2, "acquire").call(1, "release").ok(2, {"token": None}).ok(1))
    assert not exclusive(Script().acquired(1).call(2, "acquire").ok(2, {"token": None}).did(1, "release"))


def test_an_acquire_that_crashed_or_failed_gives_no_belief() -> None:
    assert exclusive(Script().call(1, "acquire").info(1).acquired(2))
    assert exclusive(Script().call(1, "acquire").fail(1).acquired(2))
    assert exclusive(Script().call(1, "acquire").acquired(2))


def test_a_lease_ends_belief_by_time() -> None:
    leased = {"token": 1, "ttl_ms": 100}
    assert exclusive(Script().did(1, "acquire", 0, leased).wait(100).acquired(2))
    assert not exclusive(Script().did(1, "acquire", 0, leased).wait(60).acquired(2))


def test_a_lease_counts_from_the_call_of_the_acquire() -> None:
    slow = Script().call(1, "acquire").wait(60).ok(1, {"ttl_ms": 100})
    assert exclusive(slow.call(2, "acquire").wait(10).ok(2, {"ttl_ms": 100}))  # 70 + 10 + 10 + 10 = 100
    late = Script().call(1, "acquire").wait(500).ok(1, {"ttl_ms": 100})
    assert exclusive(late.acquired(2))  # it ran out before it arrived
    assert list(beliefs_of(Script().call(1, "acquire").wait(500).ok(1, {"ttl_ms": 100}).history())) == []


def test_the_drift_bound_ends_belief_sooner() -> None:
    script = Script().acquired(1, 1, 100).wait(60).acquired(2, 2, 100)
    assert not exclusive(script)
    assert exclusive(script, drift_bound_ms=20)


def test_an_acknowledged_renewal_prolongs_belief_and_a_lost_one_does_not() -> None:
    renewed = Script().acquired(1, 1, 100).did(1, "renew", 1, {"token": 1, "ttl_ms": 100})
    assert not exclusive(renewed.wait(60).acquired(2))
    lost = Script().acquired(1, 1, 100).call(1, "renew", 1).wait(80).acquired(2)
    assert exclusive(lost)


def test_a_renewal_that_failed_ends_belief_at_its_return() -> None:
    assert exclusive(Script().acquired(1).call(1, "renew").fail(1).acquired(2))
    assert not exclusive(Script().acquired(1).call(1, "renew").acquired(2).fail(1))


def test_a_renewal_acknowledged_after_the_lease_ran_out_begins_a_new_belief() -> None:
    gap = Script().acquired(1, 1, 50).wait(60).acquired(2, 2, 10).wait(20)
    assert exclusive(gap.did(1, "renew", 1, {"token": 1, "ttl_ms": 50}))
    again = Script().acquired(1, 1, 50).wait(60).did(1, "renew", 1, {"token": 1, "ttl_ms": 50})
    assert not exclusive(again.acquired(2))


def test_a_process_that_crashed_believes_nothing_any_more() -> None:
    assert exclusive(Script().acquired(1).call(1, "use").info(1).acquired(2))
    assert not exclusive(Script().acquired(1).call(1, "use").acquired(2).info(1))


def test_asking_again_gives_up_the_earlier_belief() -> None:
    assert exclusive(Script().acquired(1).acquired(1).did(1, "release").acquired(2))


def brute_force(history: History) -> bool:
    """Mutual exclusion asked of every pair of beliefs."""
    beliefs = list(beliefs_of(history))
    return not any(
        a.key == b.key and a is not b and a.start_index < b.start_index and a.lasts_until(b)
        for a in beliefs
        for b in beliefs
    )


def test_the_sweep_agrees_with_looking_at_every_pair() -> None:
    rng = random.Random(3)
    verdicts = []
    for _ in range(600):
        script = Script()
        for _ in range(rng.randint(2, 12)):
            process = rng.randint(1, 3)
            key = rng.randint(1, 2)
            ttl_ms = rng.choice([None, 30, 100])
            match rng.randint(0, 4):
                case 0 | 1:
                    script.acquired(process, None, ttl_ms, key)
                case 2:
                    script.did(process, "release", None, None, key)
                case 3:
                    script.did(process, "renew", None, {"ttl_ms": ttl_ms}, key)
                case _:
                    script.call(process, rng.choice(["renew", "release", "use"]), None, key).fail(process)
            script.wait(rng.choice([0, 0, 50]))
        verdicts.append(exclusive(script))
        assert verdicts[-1] == brute_force(script.history())
    assert set(verdicts) == {True, False}


@pytest.mark.parametrize("seed", range(3))
def test_columns_find_what_rows_find(seed: int) -> None:
    said, different = compare_rows_with_columns(150, seed)
    assert different == []
    decided = [found for found in said if Verdict.UNKNOWN not in found]
    assert len(decided) == 2 * len(CHECKERS), "each checker must have said both"


MISTAKES = [
    ("fencing", bearers, "np.sort(order[repeated(place[order])])", "order[repeated(place[order])]"),
    (
        "fencing",
        bearers,
        "greatest_before(calls, returns, token) >= token",
        "greatest_before(calls, returns, token) > token + 99",
    ),
    ("fencing", bearers, "token[others]) > token[mine]", "token[others]) >= token[mine]"),
    ("fencing", bearers, "others = ~uses.reads if reads else", "others = ~uses.reads if False else"),
    (
        "fencing",
        bearers,
        "(uses.token, ~uses.reads, uses.seen, uses.key)",
        "(uses.token, uses.reads, uses.seen, uses.key)",
    ),
    ("fencing", bearers, "np.where(reads, -1, token)", "token"),
    ("fencing", bearers, "token[1:] < before", "token[1:] <= before"),
    ("fencing", bearers, "columns.ret < columns.call[later]", "columns.call < columns.call[later]"),
    ("fencing", bearers, "if columns.reads[later] else mine", "if False else mine"),
    ("fencing", bearers, "& ~again", ""),
    ("fencing", bearers, "has_failed or held[where][1] == 1", "held[where][1] == 1"),
    ("fencing", bearers, "held[where][0] == told", "True"),
    ("fencing", bearers, "or mode == PERMIT", ""),
    ("guarded-resource", uses, "np.sort(writers[order[repeated", "(writers[order[repeated"),
    (
        "guarded-resource",
        uses,
        "writers = np.flatnonzero(~uses.reads)\n    (place,)",
        "writers = np.arange(len(uses))\n    (place,)",
    ),
    (
        "guarded-resource",
        uses,
        "greatest_before(calls, returns, wrote) > seen",
        "greatest_before(calls, returns, wrote) >= seen",
    ),
    ("guarded-resource", uses, "missing > _crashed_before(uses)", "missing > 0"),
    ("guarded-resource", uses, "late |= uses.seen < start", "pass"),
    ("guarded-resource", uses, 'places[np.argsort(uses.seen[places], kind="stable")]', "places"),
    ("guarded-resource", uses, "mode_in(value) not in (READ, PERMIT)", "True"),
    (
        "guarded-resource",
        uses,
        "& ~uses.reads\n    return int(np.flatnonzero(same)[0])",
        "\n    return int(np.flatnonzero(same)[0])",
    ),
    (
        "mutex",
        beliefs,
        "grants[kernel.EXPIRES_NS, leased] += invoked_ns - drift_bound_ns",
        "grants[kernel.EXPIRES_NS, leased] += invoked_ns",
    ),
    ("mutex", beliefs, "order = np.lexsort((start, key))", "order = np.argsort(key)[::-1]"),
    ("mutex", beliefs, "began &= beliefs[kernel.END_NS] > facts", "began &= beliefs[kernel.END_NS] >= facts"),
]


def counted(script: Script, process: int, seen: int, token: int, *, reads: bool = False) -> Script:
    """A use that is called now; ``back`` returns it."""
    mode = {"mode": "read"} if reads else {}
    script.call(process, "use", {"token": token, **mode})
    script.told[process] = {"seen": seen, "again": seen} if reads else {"seen": seen, "wrote": seen + 1}
    return script


def back(script: Script, *processes: int) -> Script:
    for process in processes:
        script.ok(process, script.told[process])
    return script


def telling_histories() -> list[History]:
    """What random histories hardly ever are."""

    def one_by_one(*uses: tuple[int, int, bool]) -> Script:
        script = Script()
        for process, (seen, token, reads) in enumerate(uses):
            back(counted(script, process, seen, token, reads=reads), process)
        return script

    def at_once(*uses: tuple[int, int, bool]) -> Script:
        script = Script()
        for process, (seen, token, reads) in enumerate(uses):
            counted(script, process, seen, token, reads=reads)
        return back(script, *range(len(uses)))

    lasting = counted(counted(Script(), 1, 0, 5), 2, 1, 9)
    back(counted(back(lasting, 1), 3, 2, 3), 3, 2)
    again = {"mode": "reentrant"}
    deep = Script().did(1, "acquire", again, {"token": 1}).did(1, "acquire", again, {"token": 1})
    deep.call(1, "release").fail(1).did(1, "acquire", again, {"token": 1})
    scripts = [
        one_by_one((0, 2, True), (0, 1, True)),
        at_once((1, 2, False), (1, 1, True), (0, 1, False)),
        at_once((0, 2, True), (1, 1, True)),
        one_by_one((0, 2, False), (1, 3, True), (1, 1, True)),
        at_once((7, 1, False), (7, 1, False), (3, 1, False), (3, 1, False)),
        at_once((9, 1, False), (5, 1, False)),
        at_once((3, 1, True), (3, 1, False), (3, 1, False)),
    ]
    return [script.history() for script in (*scripts, lasting, deep)]


def test_columns_find_what_rows_find_in_telling_histories() -> None:
    said = [both(FencingChecker(), history) for history in telling_histories()]
    said += [both(GuardedResourceChecker(), history) for history in telling_histories()]
    assert [rows for rows, _ in said] == [columns for _, columns in said]


@pytest.mark.parametrize(
    ("checker", "module", "right", "wrong"), MISTAKES, ids=lambda part: getattr(part, "name", "")
)
def test_a_mistake_in_the_columns_is_found(checker: str, module: ModuleType, right: str, wrong: str) -> None:
    with Planted(module, right, wrong):
        try:
            if any(
                rows != columns
                for rows, columns in map(
                    partial(both, CHECKERS[checker](random.Random(1))), telling_histories()
                )
            ):
                return
            found = any(compare_rows_with_columns(30, seed, [checker])[1] for seed in range(10))
        except (IndexError, ValueError):
            return
    assert found


def fenced(script: Script) -> Any:
    return FencingChecker().check(script.history(), context())


def test_growing_tokens_are_fine_and_so_are_locks_without() -> None:
    assert fenced(Script().acquired(1, 3).acquired(2, 4).acquired(3, 9)).verdict is Verdict.VALID
    without = fenced(Script().acquired(1).acquired(2))
    assert (without.verdict, "no grant came with a token" in without.reason) == (Verdict.VALID, True)


@pytest.mark.parametrize("tokens", [(4, 3), (4, 4)])
def test_a_later_grant_with_no_greater_token_is_wrong(tokens: tuple[int, int]) -> None:
    result = fenced(Script().acquired(1, tokens[0]).acquired(2, tokens[1]))
    assert result.verdict is Verdict.INVALID
    assert result.counterexamples[0].core == (0, 2)


def test_concurrent_grants_may_come_in_any_order_but_not_share_a_token() -> None:
    def both(first: int, second: int) -> Any:
        return fenced(
            Script().call(1, "acquire").call(2, "acquire").ok(1, {"token": first}).ok(2, {"token": second})
        ).verdict

    assert both(2, 1) is Verdict.VALID
    assert both(2, 2) is Verdict.INVALID


def use(script: Script, process: int, seen: int, token: int | None = None) -> Script:
    return script.did(process, "use", {"token": token, "until_ns": None}, {"seen": seen, "wrote": seen + 1})


def test_a_resource_that_accepts_an_older_token_is_wrong() -> None:
    script = use(use(Script().acquired(1, 1).acquired(2, 2), 2, 0, 2), 1, 1, 1)
    result = fenced(script)
    assert result.verdict is Verdict.INVALID
    assert "token 1 was accepted by the resource after token 2" in result.reason
    assert fenced(use(use(Script(), 1, 0, 1), 1, 1, 1)).verdict is Verdict.VALID


def test_the_counter_orders_uses_that_were_concurrent() -> None:
    script = Script().call(1, "use", {"token": 1}).call(2, "use", {"token": 2})
    script.ok(1, {"seen": 1, "wrote": 2}).ok(2, {"seen": 0, "wrote": 1})
    assert fenced(script).verdict is Verdict.INVALID


def guarded(script: Script) -> Any:
    return GuardedResourceChecker().check(script.history(), context())


def test_one_chain_of_uses_is_fine() -> None:
    assert guarded(use(use(use(Script(), 1, 0), 2, 1), 1, 2)).verdict is Verdict.VALID


def test_two_uses_that_saw_the_same_lost_an_update() -> None:
    result = guarded(use(use(use(Script(), 1, 0), 1, 1), 2, 1))
    assert result.verdict is Verdict.INVALID
    assert "two uses saw 1" in result.reason
    assert result.counterexamples[0].core == (2, 4)
    assert [row["label"] for row in result.counterexamples[0].operations] == ["use 1->2", "use 1->2"]


def test_a_use_that_saw_less_than_was_written_lost_an_update() -> None:
    crashed = Script().call(9, "use").info(9)
    assert guarded(use(use(crashed, 1, 5), 2, 0)).verdict is Verdict.INVALID


def test_a_crashed_use_may_have_written_but_only_once() -> None:
    assert guarded(use(Script().call(9, "use").info(9), 1, 1)).verdict is Verdict.VALID
    assert guarded(use(Script().call(9, "use").info(9), 1, 0)).verdict is Verdict.VALID
    assert guarded(use(Script().call(9, "use").info(9), 1, 2)).verdict is Verdict.INVALID
    assert guarded(use(Script(), 1, 1).call(9, "use").info(9)).verdict is Verdict.INVALID  # called too late
    assert (
        guarded(Script().call(9, "use").fail(9).did(1, "use", {}, {"seen": 1, "wrote": 2})).verdict
        is Verdict.INVALID
    )


def test_resources_of_different_locks_are_judged_apart_and_before_and_after_are_known() -> None:
    script = (
        Script()
        .did(1, "use", {}, {"before": 0, "after": 1}, key="a")
        .did(2, "use", {}, {"before": 0, "after": 1}, key="b")
    )
    assert guarded(script).verdict is Verdict.VALID
    script.did(3, "use", {}, {"before": 0, "after": 1}, key="b")
    assert [found.key for found in guarded(script).counterexamples] == ["b"]


@pytest.mark.parametrize(
    ("checker", "operations"),
    [
        (MutexChecker(), "acquire, release or renew"),
        (FencingChecker(), "acquire or use"),
        (GuardedResourceChecker(), "use"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_history_of_something_else_is_not_judged(checker: Checker, operations: str) -> None:
    result = checker.check(Script().did(0, "write", 1).history(), context())
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason == f"nothing here to judge: the history has no operation {operations}"
    assert checker.check(History.of([]), context()).verdict is Verdict.UNKNOWN
    # What was asked for in vain was judged: nobody was let in who should not have been.
    asked = Script().call(0, "acquire", 0).fail(0).call(0, "use").fail(0)
    assert checker.check(asked.history(), context()).verdict is Verdict.VALID
