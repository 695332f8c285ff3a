"""Simulated machines: timers, clocks, logs, and what kill, pause and crash do to a program."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.simulation.programs import MS, SECOND, Town

from foreshock.harness.errors import HarnessError
from foreshock.harness.simulation.node_log import LOG_LINES_MAX


def test_a_timer_fires_once_at_its_time() -> None:
    town = Town("n1")
    town.run(lambda: town.machine("n1").set_timer(5 * MS, "t"), 50 * MS)
    assert town.events["n1"] == [(0, "start"), (5 * MS, "timer", "t")]


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "cancel", "wait"]), st.integers(0, 2), st.integers(0, 20)),
        max_size=40,
    )
)
@settings(max_examples=200, deadline=None)
def test_timers_are_replaced_and_cancelled_by_token(steps: list[tuple[str, int, int]]) -> None:
    town = Town("n1")
    machine = town.machine("n1")
    due: dict[int, int] = {}
    expected: list[tuple[int, str, int]] = []
    now = 0
    script: list[Any] = []
    for action, token, amount in [*steps, ("wait", 0, 1000)]:
        if action == "set":
            due[token] = now + amount * MS + 1
            script.append(lambda token=token, amount=amount: machine.set_timer(amount * MS + 1, token))
        elif action == "cancel":
            due.pop(token, None)
            script.append(lambda token=token: machine.cancel_timer(token))
        else:
            now += amount * MS
            expected.extend(sorted((at, "timer", token) for token, at in due.items() if at <= now))
            due = {token: at for token, at in due.items() if at > now}
            script.append(amount * MS)
    town.run(*script)
    assert sorted(e for e in town.events["n1"] if e[1] == "timer") == sorted(expected)


def test_a_paused_node_gets_what_it_missed_in_order_when_it_goes_on() -> None:
    town = Town("n1", "n2")
    n2 = town.machine("n2")

    def begin() -> None:
        town.machine("n1").set_timer(30 * MS, "late")
        town.machine("n1").disk.append("log", b"x")
        town.machine("n1").disk.sync("log", "token")
        town.world.pause("n1")

    town.run(
        begin,
        10 * MS,
        lambda: n2.send("n1", 1),
        10 * MS,
        lambda: n2.send("n1", 2),
        60 * MS,
        lambda: town.world.resume("n1"),
        MS,
        lambda: n2.send("n1", 3),
        10 * MS,
    )
    assert town.kinds("n1") == [
        ("start",),
        ("synced", "token"),
        ("datagram", "n2", 1),
        ("datagram", "n2", 2),
        ("timer", "late"),
        ("datagram", "n2", 3),
    ]
    assert [time for time, *_ in town.events["n1"][1:5]] == [80 * MS] * 4


def test_a_timer_reset_by_a_late_datagram_does_not_fire_early() -> None:
    town = Town("n1", "n2")

    def begin() -> None:
        town.machine("n1").set_timer(5 * MS, "election")
        town.programs["n1"].react["datagram"] = lambda *_: town.machine("n1").set_timer(5 * MS, "election")
        town.machine("n2").send("n1", "heartbeat")
        town.world.pause("n1")

    town.run(begin, 20 * MS, lambda: town.world.resume("n1"), 20 * MS)
    assert town.events["n1"][1:] == [(20 * MS, "datagram", "n2", "heartbeat"), (25 * MS, "timer", "election")]


def test_a_killed_node_loses_program_timers_and_what_it_was_owed() -> None:
    town = Town("n1", "n2")
    lives: list[Any] = []

    def owe() -> None:
        lives.append(town.programs["n1"])
        town.machine("n1").set_timer(5 * MS, "t")
        town.world.pause("n1")
        town.machine("n2").send("n1", "lost")

    town.run(
        owe,
        20 * MS,
        lambda: town.world.resume("n1"),
        lambda: town.world.kill("n1"),
        lambda: town.world.start("n1"),
        20 * MS,
    )
    assert town.kinds("n1") == [("start",), ("start",)]
    assert town.programs["n1"] is not lives[0]


def test_kill_start_pause_and_resume_are_idempotent() -> None:
    town = Town("n1")
    states = []

    def look() -> None:
        states.append(town.world.states()["n1"])

    steps: list[Any] = []
    for act in ("pause", "pause", "resume", "resume", "kill", "kill", "pause", "resume", "start", "start"):
        steps += [lambda act=act: getattr(town.world, act)("n1"), MS, look]
    town.run(*steps)
    assert states == ["paused"] * 2 + ["running"] * 2 + ["killed"] * 4 + ["running"] * 2
    assert town.kinds("n1") == [("start",), ("start",)]


def test_a_program_that_raises_crashes_its_node_and_is_counted() -> None:
    town = Town("n1", "n2")

    def explode(*_: Any) -> None:
        raise RuntimeError("index out of range, say")

    def arm() -> None:
        town.programs["n1"].react["datagram"] = explode

    states: list[dict[str, str]] = []
    town.run(
        arm,
        lambda: town.machine("n2").send("n1", "x"),
        10 * MS,
        lambda: states.append(town.world.states()),
        lambda: town.world.start("n1"),
        MS,
        lambda: states.append(town.world.states()),
    )
    assert states == [{"n1": "crashed", "n2": "running"}, {"n1": "running", "n2": "running"}]
    (error,) = town.world.program_errors
    assert (error.node, error.error) == ("n1", "RuntimeError: index out of range, say")
    assert "in explode" in error.traceback
    assert any("index out of range, say" in line for line in town.world.logs("n1"))


def test_a_program_that_gives_up_is_left_at_once_and_is_no_error_of_its_own() -> None:
    town = Town("n1")
    after: list[str] = []

    def give_up(*_: Any) -> None:
        town.machine("n1").crash("the log is corrupt")
        after.append("not reached")  # type: ignore[unreachable]

    def arm() -> None:
        town.programs["n1"].react["timer"] = give_up
        town.machine("n1").set_timer(0, "t")

    town.run(arm, MS)
    assert town.world.states() == {"n1": "crashed"}
    assert town.world.program_errors == []
    assert after == []
    assert any("the log is corrupt" in line for line in town.world.logs("n1"))


def test_a_factory_that_raises_crashes_the_node() -> None:
    town = Town()

    def make(_: Any) -> Any:
        raise ValueError("no such knob")

    town.run(lambda: town.world.add("n1", make), MS, lambda: town.world.kill("n1"))
    assert town.world.states() == {"n1": "crashed"}
    assert town.world.program_errors[0].error == "ValueError: no such knob"


def test_after_step_sees_the_program_after_each_callback_and_may_end_the_run() -> None:
    town = Town("n1")
    seen: list[int] = []

    def invariant(name: str, program: Any) -> None:
        assert program is town.programs[name]
        seen.append(len(program.events))
        if len(program.events) == 3:
            raise AssertionError("the invariant does not hold")

    def arm() -> None:
        town.world.after_step = invariant
        town.machine("n1").set_timer(MS, 1)
        town.machine("n1").set_timer(2 * MS, 2)

    with pytest.raises(AssertionError, match="does not hold"):
        town.run(arm, SECOND)
    assert seen == [2, 3]


def test_a_stream_of_a_node_goes_on_after_a_restart() -> None:
    town, same = Town("n1"), Town("n1")
    draws: list[int] = []
    town.run(
        lambda: draws.append(town.machine("n1").random("election").bits(32)),
        lambda: town.world.kill("n1"),
        lambda: town.world.start("n1"),
        MS,
        lambda: draws.append(town.machine("n1").random("election").bits(32)),
    )
    stream = same.machine("n1").random("election")
    assert draws == [stream.bits(32), stream.bits(32)]


def test_a_log_keeps_its_last_lines_and_says_how_many_it_dropped() -> None:
    town = Town("n1")
    machine = town.machine("n1")
    for number in range(LOG_LINES_MAX + 5):
        machine.log(f"line {number}")
    lines = machine.logs()
    assert lines[0] == "(6 earlier lines were dropped)"
    assert lines[-1] == f"0.000000 line {LOG_LINES_MAX + 4}"


def test_the_wall_clock_jumps_and_both_clocks_drift_and_a_reset_sets_only_the_wall_clock_back() -> None:
    town = Town("n1")
    clock, machine = town.world.clock("n1"), town.machine("n1")
    shown: list[tuple[int, int]] = []

    def look() -> None:
        true_ns = town.runtime.now()
        shown.append((machine.now() - true_ns, machine.wall_now() - true_ns))

    town.run(
        look,
        lambda: clock.jump(7 * SECOND),
        look,
        lambda: clock.drift(1_000_000),  # 1 ms a second
        10 * SECOND,
        look,
        lambda: clock.drift(0),
        SECOND,
        look,
        lambda: clock.jump(-20 * SECOND),
        look,
        clock.reset,
        look,
    )
    gained = 10 * MS
    assert shown == [
        (0, 0),
        (0, 7 * SECOND),
        (gained, 7 * SECOND + gained),
        (gained, 7 * SECOND + gained),
        (gained, gained - 13 * SECOND),
        (gained, 0),
    ]
    assert clock.wall_offset_ns() == 0
    with pytest.raises(HarnessError, match="cannot drift"):
        clock.drift(-(10**9))


def test_the_wall_clock_may_drift_alone_until_all_drift_or_the_machine_starts_anew() -> None:
    town = Town("n1")
    clock, machine = town.world.clock("n1"), town.machine("n1")
    shown: list[tuple[int, int]] = []

    def look() -> None:
        true_ns = town.runtime.now()
        shown.append((machine.now() - true_ns, machine.wall_now() - true_ns))

    town.run(
        lambda: clock.drift_wall(-500_000_000),
        lambda: machine.set_timer(2 * SECOND, "true"),
        4 * SECOND,
        look,
        lambda: clock.drift(250_000_000),  # all of them, in place of the wall clock alone
        4 * SECOND,
        look,
        lambda: clock.drift_wall(100_000_000),
        SECOND,
        look,
        clock.reset,
        SECOND,
        look,
        lambda: clock.drift_wall(500_000_000),
        2 * SECOND,
        lambda: town.world.cut_power("n1"),
        look,
        2 * SECOND,
        look,
    )
    assert shown == [
        (0, -2 * SECOND),
        (SECOND, -SECOND),
        (SECOND, -900 * MS),
        (SECOND, 0),
        (-12 * SECOND, SECOND),
        (-12 * SECOND, 2 * SECOND),
    ]
    assert (2 * SECOND, "timer", "true") in town.events["n1"]
    with pytest.raises(HarnessError, match="cannot drift"):
        clock.drift_wall(10**9)


@pytest.mark.parametrize("drifts_ppb", [[-500_000_000, 900_000_000, 0, -900_000_000], [300, -300, 7]])
def test_the_monotonic_clock_never_goes_back(drifts_ppb: list[int]) -> None:
    town = Town("n1")
    clock, machine = town.world.clock("n1"), town.machine("n1")
    shown: list[int] = []

    def change(drift_ppb: int) -> None:
        clock.drift(drift_ppb)
        shown.append(machine.now())
        clock.jump(-5 * SECOND)
        shown.append(machine.now())

    steps = [step for ppb in drifts_ppb for step in (7, lambda ppb=ppb: change(ppb), 3, clock.reset)]
    town.run(*steps)
    assert shown == sorted(shown)


def test_after_a_power_cut_the_monotonic_clock_begins_again_and_after_a_kill_it_goes_on() -> None:
    town = Town("n1")
    machine, shown = town.machine("n1"), []

    def look() -> None:
        shown.append((machine.now(), machine.wall_now()))

    town.run(
        lambda: town.world.clock("n1").jump(-2 * SECOND),
        5 * SECOND,
        lambda: town.world.kill("n1"),
        look,
        lambda: town.world.cut_power("n1"),
        look,
        SECOND,
        lambda: town.world.start("n1"),
        lambda: machine.set_timer(SECOND, "t"),
        2 * SECOND,
        look,
    )
    assert shown == [(5 * SECOND, 3 * SECOND), (0, 3 * SECOND), (3 * SECOND, 6 * SECOND)]
    assert town.events["n1"][-1] == (7 * SECOND, "timer", "t")


def test_timers_run_by_the_rate_of_the_nodes_clock_but_ignore_its_jumps() -> None:
    town = Town("n1")
    machine, clock = town.machine("n1"), town.world.clock("n1")

    def begin() -> None:
        clock.jump(-3 * SECOND)
        clock.drift(250_000_000)  # a quarter fast
        machine.set_timer(SECOND, "t")

    town.run(begin, 2 * SECOND)
    assert town.events["n1"][1:] == [(800 * MS, "timer", "t")]


def test_a_timer_under_way_follows_the_clock_to_its_new_rate() -> None:
    town = Town("n1")
    machine, clock = town.machine("n1"), town.world.clock("n1")

    def begin() -> None:
        machine.set_timer(SECOND, "sooner")
        machine.set_timer(3 * SECOND, "later")
        machine.set_timer(SECOND, "never")
        machine.cancel_timer("never")

    town.run(
        begin,
        500 * MS,
        lambda: clock.drift(250_000_000),  # half a second is left, and passes in 400 ms
        500 * MS,  # by the node's clock 1125 ms have passed
        lambda: clock.drift(-500_000_000),  # and the 1875 ms that are left take 3750 ms
        10 * SECOND,
    )
    assert town.events["n1"][1:] == [(900 * MS, "timer", "sooner"), (4750 * MS, "timer", "later")]


def test_a_name_that_is_not_there_is_an_error_that_says_which_are() -> None:
    town = Town("n1", "n2")
    with pytest.raises(HarnessError, match=r"no simulated node 'n9' \(there are: n1, n2\)"):
        town.world.kill("n9")
    with pytest.raises(HarnessError, match="already"):
        town.world.add("n1", town.make)
