"""The life of one test in the simulator: what goes wrong, and when the user wants it to end."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.conductor import Conductor
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress, Snapshot
from foreshock.harness.request import Request
from foreshock.harness.simulation.runtime import SimRuntime


class Phases(SilentProgress):
    """Remembers the steps, and interrupts when it is told a certain one has begun."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Snapshot] = []
        self.at: dict[str, Callable[[], object]] = {}

    def phase(self, text: str) -> None:
        self.said.append(text)
        for words, act in list(self.at.items()):
            if text.startswith(words):
                del self.at[words]
                act()

    def show(self, snapshot: Snapshot) -> None:
        self.shown.append(snapshot)


class Rehearsal:
    """A conductor in the simulator, not begun yet."""

    def __init__(self, folder: Path, **request: Any) -> None:
        request = {"nemesis": "partition,kill", "interval": 0.5, "time_limit": 5.0, "seed": 3, **request}
        self.phases = Phases()
        self.runtime = SimRuntime(request["seed"])
        resolved = resolve(Request(backend="sim", **request))
        self.conductor = Conductor(resolved, folder, self.runtime, self.phases)

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something so long after the main phase has begun."""

        async def wait() -> None:
            await self.runtime.sleep(round(seconds * 1e9))
            act()

        self.phases.at["running"] = lambda: self.runtime.spawn(wait(), name="later")

    def go(self) -> Conductor:
        self.runtime.run(self.conductor.conduct())
        return self.conductor


ALL = ["deploying", "running", "healing", "waiting", "final", "fetching"]


def steps(conductor_phases: Phases) -> list[str]:
    return [text.split()[0] for text in conductor_phases.said if not text.startswith("interrupted")]


def test_a_test_goes_through_every_step(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    conductor = rehearsal.go()
    assert steps(rehearsal.phases) == ALL
    assert conductor.complete
    assert conductor.harness_errors == []
    assert all(fault.healed_ns is not None for fault in read_ledger(tmp_path / "faults.jsonl"))
    assert conductor.recorder.ok > 50


def test_progress_is_shown_twice_a_second_with_faults_and_nodes(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    rehearsal.go()
    main = [snapshot for snapshot in rehearsal.phases.shown if snapshot.phase == "main"]
    assert len(main) >= 9
    elapsed_s = [snapshot.elapsed_s for snapshot in main]
    assert all(round(after - before, 6) == 0.5 for before, after in pairwise(elapsed_s))
    assert any(snapshot.faults for snapshot in main)
    assert any(fault.startswith("kill n") for snapshot in main for fault in snapshot.faults)
    assert {state for snapshot in main for state in snapshot.nodes.values()} == {"running", "killed"}
    assert main[-1].ok > main[0].ok


def test_the_first_interrupt_ends_the_main_phase_alone(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    rehearsal.after(1.0, rehearsal.conductor.interrupt)
    conductor = rehearsal.go()
    assert steps(rehearsal.phases) == ALL
    assert (conductor.complete, conductor.interrupts) == (True, 1)
    planned = [fault.planned_ns for fault in conductor.ledger.all()]
    assert max(planned, default=0) < 2e9
    assert not conductor.ledger.open_faults()


def test_the_second_interrupt_heals_and_tears_down(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)

    def twice() -> None:
        rehearsal.conductor.interrupt()
        rehearsal.conductor.interrupt()

    rehearsal.after(2.0, twice)
    conductor = rehearsal.go()
    assert steps(rehearsal.phases) == ["deploying", "running", "healing", "fetching"]
    assert (conductor.complete, conductor.interrupts) == (False, 2)
    assert conductor.ledger.all()
    assert not conductor.ledger.open_faults()
    assert conductor.harness_errors == []


@pytest.mark.parametrize(
    ("when", "missing"), [("deploying", ALL[1:5]), ("waiting", ["final"]), ("final", [])]
)
def test_an_interrupt_ends_the_step_that_it_meets(tmp_path: Path, when: str, missing: list[str]) -> None:
    rehearsal = Rehearsal(tmp_path)

    async def soon() -> None:
        await rehearsal.runtime.sleep(1)
        rehearsal.conductor.interrupt()

    rehearsal.phases.at[when] = lambda: rehearsal.runtime.spawn(soon(), name="soon")
    conductor = rehearsal.go()
    assert steps(rehearsal.phases) == [step for step in ALL if step not in missing]
    assert not conductor.complete
    assert conductor.harness_errors == []


def test_an_interrupt_while_healing_does_not_stop_the_healing(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    rehearsal.phases.at["healing"] = rehearsal.conductor.interrupt
    conductor = rehearsal.go()
    assert not conductor.ledger.open_faults()
    assert steps(rehearsal.phases) == ALL


@pytest.mark.parametrize(("kind", "struck"), [("kill", "killed"), ("pause", "paused")])
def test_a_fault_that_the_nemesis_left_is_healed_by_its_inverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, struck: str
) -> None:
    nemesis = f"foreshock.nemesis.{kind}.{kind.title()}Nemesis"
    monkeypatch.setattr(f"{nemesis}.generator", lambda _self: Operation(f=kind, value="minority"))
    monkeypatch.setattr(f"{nemesis}.final_generator", lambda _self: None)
    rehearsal = Rehearsal(tmp_path, nemesis=kind, time_limit=3.0)
    cluster: Any = rehearsal.conductor.parts.cluster
    states: list[list[str]] = []
    for step in ("healing", "waiting"):
        rehearsal.phases.at[step] = lambda: states.append(sorted(cluster.world.states().values()))
    conductor = rehearsal.go()
    assert states == [sorted([struck] * 2 + ["running"] * 3), ["running"] * 5]
    assert not conductor.ledger.open_faults()
    assert conductor.harness_errors == []


def test_a_fault_that_cannot_be_healed_is_said_and_the_others_are_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = Rehearsal(tmp_path)
    ledger = rehearsal.conductor.ledger
    rehearsal.after(
        1.0,
        lambda: [
            ledger.planned("smoke", frozenset({"n1"}), inverse={"backend": "sim", "fault": name})
            for name in ("stubborn", "meek")
        ],
    )

    def heal(inverse: dict[str, Any]) -> str:
        if inverse["fault"] == "stubborn":
            raise FaultError("it will not go out")
        return "put out"

    monkeypatch.setattr(rehearsal.conductor.resolved.backend, "heal", heal)
    conductor = rehearsal.go()
    (left,) = ledger.open_faults()
    assert left.inverse["fault"] == "stubborn"
    assert conductor.harness_errors == [
        f"the fault smoke (number {left.id}) could not be healed: it will not go out"
    ]
    assert conductor.complete


def test_what_the_nemesis_left_is_undone_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = Rehearsal(tmp_path, nemesis="none", time_limit=2.0)
    ledger = rehearsal.conductor.ledger
    undone: list[str] = []

    def break_three() -> None:
        for name in ("first", "second", "third"):
            ledger.planned("smoke", frozenset({"n1"}), inverse={"backend": "sim", "fault": name})

    def heal(inverse: dict[str, Any]) -> str:
        undone.append(inverse["fault"])
        return "put out"

    rehearsal.after(1.0, break_three)
    monkeypatch.setattr(rehearsal.conductor.resolved.backend, "heal", heal)
    rehearsal.go()
    assert undone == ["third", "second", "first"]
    assert not ledger.open_faults()


def test_a_ledger_that_the_disk_no_longer_takes_lets_no_fault_happen_and_all_is_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = Rehearsal(tmp_path, nemesis="kill", time_limit=8.0)
    ledger, world = rehearsal.conductor.ledger, rehearsal.runtime.world
    real = ledger._append

    def append(event: dict[str, Any]) -> None:
        if rehearsal.runtime.now() > 3e9:
            raise HarnessError("the fault ledger cannot be written: No space left on device")
        real(event)

    monkeypatch.setattr(ledger, "_append", append)
    states: list[list[str]] = []
    rehearsal.phases.at["waiting"] = lambda: states.append(sorted(world.states().values()))
    conductor = rehearsal.go()
    assert any(fault.planned_ns < 3e9 for fault in ledger.all())
    assert not any(fault.planned_ns > 3e9 for fault in ledger.all())
    assert states == [["running"] * 5]
    assert any("No space left on device" in error for error in conductor.harness_errors)


def test_what_teardown_raises_is_said_and_the_files_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = Rehearsal(tmp_path, nemesis="none", time_limit=1.0)

    async def teardown() -> None:
        raise OSError("stuck")

    monkeypatch.setattr(rehearsal.conductor.parts.cluster, "teardown", teardown)
    conductor = rehearsal.go()
    (error,) = conductor.harness_errors
    assert re.fullmatch(
        r"teardown failed: OSError: stuck \(test_conductor.py, line \d+, in teardown\)", error
    )
    last = (tmp_path / "history.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["type"] in ("ok", "fail", "info")


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_node_whose_check_raises_or_hangs_after_healing_is_waited_for_no_longer_than_the_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    rehearsal = Rehearsal(tmp_path, nemesis="none", time_limit=1.0, recovery_time=7.0)
    target = rehearsal.conductor.parts.target
    asked: list[str] = []
    began: list[int] = []

    async def ready(node: Any, runtime: SimRuntime) -> bool:
        asked.append(node.name)
        if how == "raises":
            raise ConnectionError("not yet")
        await runtime.sleep(10**15)
        return True

    def waiting() -> None:
        began.append(rehearsal.runtime.now())
        monkeypatch.setattr(target, "ready", ready)

    rehearsal.phases.at["waiting"] = waiting
    rehearsal.phases.at["final"] = lambda: began.append(rehearsal.runtime.now())
    conductor = rehearsal.go()
    assert conductor.harness_errors == []
    assert conductor.complete
    assert {"n1", "n2"} <= set(asked)
    assert 7e9 <= began[1] - began[0] < 7.2e9


def test_a_task_that_fails_in_the_background_ends_the_test_but_not_the_teardown(tmp_path: Path) -> None:
    runtime, phases = AsyncioRuntime(3), Phases()
    resolved = resolve(Request(backend="process", nodes="1", nemesis="pause", time_limit=20.0, interval=0.1))
    conductor = Conductor(resolved, tmp_path, runtime, phases)

    async def fail() -> None:
        raise ZeroDivisionError("in the background")

    for step in ("running", "healing", "fetching"):
        phases.at[step] = lambda: runtime.spawn(fail(), name="broken")
    with pytest.raises(ZeroDivisionError, match="in the background"):
        runtime.run(conductor.conduct())
    assert steps(phases) == ["deploying", "running", "healing", "fetching"]
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == ["n1"]
    assert all(fault.healed_ns is not None for fault in read_ledger(tmp_path / "faults.jsonl"))
    assert not alive_process_of(tmp_path)


def alive_process_of(run: Path) -> list[str]:
    """The processes whose command line names the run's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(run).encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_a_node_that_ends_by_itself_is_named_though_its_clients_saw_nothing_wrong(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path, nemesis="none")
    rehearsal.after(2, lambda: setattr(rehearsal.runtime.world.machine("n2").disk, "capacity_bytes", 0))
    conductor = rehearsal.go()
    assert conductor.harness_errors == [
        "the node n2 ended by itself, no fault had killed it: its log is in nodes/n2"
    ]


def test_a_node_that_ended_by_itself_is_named_though_the_kill_nemesis_started_it_again(
    tmp_path: Path,
) -> None:
    rehearsal = Rehearsal(tmp_path, nemesis="kill", options={"kill.targets": "one"}, time_limit=20.0)
    runtime = rehearsal.runtime

    async def fill_the_disk_for_a_while() -> None:
        disk = runtime.world.machine("n2").disk
        disk.capacity_bytes = 0
        while runtime.world.states()["n2"] != "crashed":
            await runtime.sleep(10_000_000)
        disk.capacity_bytes = None

    rehearsal.after(2, lambda: runtime.spawn(fill_the_disk_for_a_while(), name="filling"))
    conductor = rehearsal.go()
    starts = [row.result for row in conductor.recorder.history() if row.f == "start"]
    assert any("n2" in result.get("not by us", ()) for result in starts[:-1]), (
        "healing alone started it again"
    )
    assert conductor.harness_errors == [
        "the node n2 ended by itself, no fault had killed it: its log is in nodes/n2"
    ]


FALLS_AND_IS_KILLED = """
[[fault]]
at = 1.0
do = "break-disk"
value = {{ kind = "full", nodes = ["n2"] }}

[[fault]]
at = 3.0
do = "{strike}"
value = {{ nodes = ["n2"] }}

[[fault]]
at = 3.5
do = "mend-disk"

[[fault]]
at = 4.5
do = "{relieve}"
"""


@pytest.mark.parametrize(("strike", "relieve"), [("kill", "start"), ("cut-power", "restore-power")])
def test_who_fell_of_its_disk_and_was_struck_while_down_did_not_end_by_itself(
    tmp_path: Path, strike: str, relieve: str
) -> None:
    schedule = tmp_path / "schedule.toml"
    schedule.write_text(FALLS_AND_IS_KILLED.format(strike=strike, relieve=relieve))
    rehearsal = Rehearsal(tmp_path, nemesis="none", schedule=str(schedule), time_limit=6.0, rate=10.0)
    seen: list[str] = []
    rehearsal.after(4.0, lambda: seen.append(rehearsal.runtime.world.states()["n2"]))
    conductor = rehearsal.go()
    assert seen == ["crashed"], "it fell, and mending its disk does not start what another fault holds down"
    assert conductor.harness_errors == []
