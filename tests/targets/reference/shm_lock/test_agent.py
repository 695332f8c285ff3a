"""Agents of one host: who may have a lock, and what is done when its owner died."""

from __future__ import annotations

from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.locks.simulated_memory import SimulatedHost
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import Effects, NodeFailure
from foreshock.targets.reference.node.shm_lock.agent import LockAgent
from foreshock.targets.reference.node.shm_lock.cells import Grant, cell_name
from foreshock.targets.reference.node.shm_lock.knobs import ShmLockKnobs

MS = 1_000_000
KNOBS = ShmLockKnobs(ttl_ms=1_000, clock_margin_percent=20, ping_ms=300, poll_ms=10)
SILENCE_MS = 1_200


class Host:
    """Agents on one memory, by name; connection 1 of each is its only client. Time passes for all that run."""

    def __init__(self, *names: str, agent: type[LockAgent] = LockAgent, knobs: ShmLockKnobs = KNOBS) -> None:
        self.memory = SimulatedHost()
        self.knobs = knobs
        self.now_ms = 0
        self.agents: dict[str, LockAgent] = {}
        self.stopped: set[str] = set()
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.logs: list[str] = []
        self._class = agent
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        attached = self.memory.attach(name, lambda: name in self.agents, cells_max=self.knobs.locks_max)
        configuration = NodeConfiguration(name, (name,), "shm-lock", self.knobs, cluster="c")
        agent = self._class(configuration, self.knobs, attached, RandomStream(1, name).bits)
        self.agents[name] = agent
        self.told[name] = []
        self._carry_out(name, agent.on_start(self.now_ms * MS))

    def kill(self, name: str) -> None:
        del self.agents[name]

    def ask(self, name: str, kind: str, **fields: Any) -> dict[str, Any] | None:
        """What the client of an agent says, and the newest that it was told, if anything."""
        before = len(self.told[name])
        body = {"type": kind, "key": "k", "msg_id": 1, **fields}
        self._carry_out(name, self.agents[name].on_request(1, {"body": body}, self.now_ms * MS))
        return self.told[name][-1] if len(self.told[name]) > before else None

    def granted(self, name: str) -> list[int]:
        return [told["token"] for told in self.told[name] if told["type"] == "acquire_ok"]

    def wait(self, ms: int, *, talking: bool = True) -> None:
        """Millisecond by millisecond; clients say now and then that they are there, if they are ``talking``."""
        for _ in range(ms):
            self.now_ms += 1
            for name, agent in self.agents.items():
                if name in self.stopped:
                    continue
                if talking and self.now_ms % 100 == 0:
                    self._carry_out(name, agent.on_request(1, {"body": {"type": "pong"}}, self.now_ms * MS))
                if agent.deadline_ns <= self.now_ms * MS:
                    self._carry_out(name, agent.on_tick(self.now_ms * MS))

    def _carry_out(self, name: str, effects: Effects) -> None:
        self.told[name] += [message["body"] for _, message in effects.replies]
        self.logs += effects.logs
        for connection in effects.close:
            self._carry_out(name, self.agents[name].on_close(connection, self.now_ms * MS))


def test_agents_exclude_each_other_and_one_that_waits_is_served_soon_after_the_release() -> None:
    host = Host("n1", "n2")
    assert host.ask("n1", "acquire") is not None
    assert host.ask("n2", "acquire")["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
    assert host.ask("n2", "acquire", wait_ms=5_000) is None
    host.wait(100)
    assert host.granted("n2") == []
    host.ask("n1", "release")
    host.wait(2 * KNOBS.poll_ms)
    assert (host.granted("n1"), host.granted("n2")) == ([1], [2])


def test_an_agent_with_a_line_of_its_own_lets_the_others_have_their_turn() -> None:
    host = Host("n1", "n2")
    host.ask("n1", "acquire")
    host.ask("n2", "acquire", wait_ms=50_000)
    turns = 0
    for _ in range(100):
        host.ask("n1", "release")
        host.ask("n1", "acquire", wait_ms=50_000)
        host.wait(3 * KNOBS.poll_ms)
        if host.granted("n2"):
            return
        turns += 1
    pytest.fail(f"n2 was kept out for {turns} turns")


def test_the_owners_death_is_found_and_its_client_waited_for() -> None:
    host = Host("n1", "n2", "n3")
    host.ask("n1", "acquire")
    host.ask("n2", "acquire", wait_ms=60_000)
    host.ask("n3", "acquire", wait_ms=60_000)
    host.kill("n1")
    host.wait(SILENCE_MS - 1)
    assert host.granted("n2") + host.granted("n3") == []
    assert sum("the owner of the lock 'k' died" in line for line in host.logs) == 1
    host.wait(2 * KNOBS.poll_ms)
    assert host.granted("n2") + host.granted("n3") == [2]


def test_a_finder_that_dies_while_it_waits_leaves_the_wait_to_the_next() -> None:
    host = Host("n1", "n2", "n3")
    host.ask("n1", "acquire")
    host.ask("n2", "acquire", wait_ms=60_000)
    host.kill("n1")
    host.wait(SILENCE_MS // 2)
    host.ask("n3", "acquire", wait_ms=60_000)
    host.kill("n2")
    host.wait(SILENCE_MS - 1)
    assert host.granted("n3") == []
    host.wait(3 * KNOBS.poll_ms)
    assert host.granted("n3") == [2]


def test_an_agent_that_starts_again_waits_for_its_own_earlier_client() -> None:
    host = Host("n1")
    host.ask("n1", "acquire")
    host.kill("n1")
    host.start("n1")
    assert host.ask("n1", "acquire")["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
    host.wait(SILENCE_MS + KNOBS.poll_ms)
    assert host.ask("n1", "acquire")["token"] == 2  # type: ignore[index]


def test_once_the_wait_is_over_nobody_else_waits_again() -> None:
    host = Host("n1", "n2", "n3")
    host.ask("n1", "acquire")
    host.kill("n1")
    host.ask("n2", "acquire")
    host.wait(SILENCE_MS + KNOBS.poll_ms)
    assert host.ask("n3", "acquire")["token"] == 2  # type: ignore[index]


def test_a_stopped_agent_keeps_its_lock_and_gives_it_up_when_it_goes_on_and_finds_its_client_gone() -> None:
    host = Host("n1", "n2")
    host.ask("n1", "acquire")
    host.stopped.add("n1")
    host.ask("n2", "acquire", wait_ms=60_000)
    host.wait(20 * SILENCE_MS)
    assert host.granted("n2") == []
    host.stopped.clear()
    host.wait(2 * KNOBS.poll_ms, talking=False)
    assert host.granted("n2") == [2]


def test_the_lock_of_a_client_that_hung_up_is_free_at_once() -> None:
    host = Host("n1", "n2")
    host.ask("n1", "acquire")
    host.agents["n1"].on_close(1, 0)
    assert host.ask("n2", "acquire")["token"] == 2  # type: ignore[index]


class IgnoresOwnerDeath(LockAgent):
    """Takes a lock whose owner died as if it had been given back."""

    def owner_died(self, grant: Grant) -> bool:
        return False


def test_without_a_look_at_whether_the_owner_died_its_client_is_not_waited_for() -> None:
    host = Host("n1", "n2", agent=IgnoresOwnerDeath)
    host.ask("n1", "acquire")
    host.kill("n1")
    assert host.ask("n2", "acquire")["token"] == 2  # type: ignore[index]


def test_one_cell_too_many_is_refused() -> None:
    host = Host("n1", "n2", knobs=KNOBS._replace(locks_max=1))
    host.ask("n1", "acquire")
    host.ask("n1", "release")
    assert host.ask("n2", "acquire", key="other")["code"] == codes.TEMPORARILY_UNAVAILABLE  # type: ignore[index]
    host.wait(KNOBS.poll_ms)
    assert host.ask("n2", "acquire")["token"] == 2  # type: ignore[index]


def test_an_agent_that_meets_a_damaged_cell_gives_up_with_its_place() -> None:
    host = Host("n1")
    host.memory.cells[cell_name("k")] = bytearray(b"\x7fELF" * 64)
    with pytest.raises(NodeFailure, match="cannot be used: at byte 0"):
        host.ask("n1", "acquire")


def test_an_agent_without_a_directory_and_knobs_without_sense_are_refused() -> None:
    configuration = NodeConfiguration("n1", ("n1",), "shm-lock", KNOBS)
    with pytest.raises(NodeFailure, match="shared_directory=DIR"):
        build_program(configuration, None, lambda bits: 0, 0)  # type: ignore[arg-type]
    for knobs in (KNOBS._replace(poll_ms=0), KNOBS._replace(ttl_ms=0)):
        with pytest.raises(ValueError, match="at least 1"):
            knobs.checked()


def test_the_status_tells_of_waits_for_the_dead() -> None:
    host = Host("n1", "n2")
    host.ask("n1", "acquire")
    host.kill("n1")
    host.ask("n2", "acquire")
    assert host.ask("n2", "status")["recovering"] == 1  # type: ignore[index]
