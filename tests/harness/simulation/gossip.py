"""A toy test in the simulator, printed event by event: what the determinism test runs again and again."""

from __future__ import annotations

import sys
from typing import Any

from foreshock.harness.cluster import Endpoint
from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, TimeoutExpired
from foreshock.harness.simulation.machine import SimMachine
from foreshock.harness.simulation.program import Program
from foreshock.harness.simulation.runtime import SimRuntime

MS = 1_000_000
NAMES = ("ada", "bob", "cyd", "dan", "eve")


class Gossip:
    """Keeps the greatest number that it has heard of, on disk, and passes it on."""

    def __init__(self, machine: SimMachine, trace: list[str]) -> None:
        self.machine = machine
        self.trace = trace
        self.rng = machine.random("gossip")
        self.known = 0
        self.peers = {name for name in NAMES if name != machine.name}

    def say(self, *words: object) -> None:
        self.trace.append(f"{self.machine.now()} {self.machine.name} {words}")

    def learn(self, number: int) -> None:
        if number > self.known:
            self.known = number
            self.machine.disk.append("known", number.to_bytes(4, "big"))
            self.machine.disk.sync("known", ("synced", number))

    def on_start(self) -> None:
        data = self.machine.disk.read("known") if self.machine.disk.names() else b""
        self.say("starts with", data.hex())
        self.known = max(
            (int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data) - 3, 4)), default=0
        )
        self.machine.set_timer(self.rng.between(1, 20) * MS, "tell")

    def on_datagram(self, source: str, message: Any) -> None:
        self.say("hears", source, message)
        self.learn(message)

    def on_timer(self, token: Any) -> None:
        self.machine.send(self.rng.choice(sorted(self.peers)), self.known)
        self.machine.set_timer(self.rng.between(1, 20) * MS, token)

    def on_open(self, connection: int, source: str, *, accepted: bool) -> None:
        self.say("opens", connection, source, accepted)

    def on_message(self, connection: int, message: Any) -> None:
        self.say("is told", connection, message)
        self.learn(message["number"])
        self.machine.write(connection, {"known": self.known})

    def on_close(self, connection: int) -> None:
        self.say("closes", connection)

    def on_synced(self, token: object) -> None:
        self.say("keeps", token)


async def nemesis(runtime: SimRuntime, trace: list[str]) -> None:
    rng, world = runtime.random("nemesis"), runtime.world
    while True:
        await runtime.sleep(rng.between(1, 60) * MS)
        name = rng.choice(NAMES)
        act = rng.choice(
            ["kill", "start", "pause", "resume", "cut", "heal", "heard", "drift", "jump", "cut_power"]
        )
        if act == "cut":
            world.cut({name: frozenset(other for other in NAMES if rng.chance(1, 2) and other != name)})
        elif act == "heal":
            world.cut({})
        elif act == "heard":
            heard = await world.heard(frozenset((a, name) for a in NAMES if a != name))
            trace.append(f"{runtime.now()} heard {heard}")
        elif act == "drift":
            world.clock(name).drift(rng.between(-1000, 1000))
        elif act == "jump":
            world.clock(name).jump(rng.between(-100, 100) * MS)
        else:
            getattr(world, act)(name)
        trace.append(f"{runtime.now()} {act} {name}")


async def client(runtime: SimRuntime, number: int, trace: list[str]) -> None:
    rng = runtime.random(f"client {number}")
    while True:
        try:
            connection = await runtime.timeout(runtime.connect(Endpoint(rng.choice(NAMES), 1)), 100 * MS)
            for _ in range(rng.between(1, 5)):
                await connection.send({"number": rng.bits(20)})
                trace.append(f"{runtime.now()} {await runtime.timeout(connection.receive(), 50 * MS)}")
            connection.close()
        except (ConnectionClosed, ConnectionRefused, TimeoutExpired) as error:
            trace.append(f"{runtime.now()} client {number}: {error}")
        await runtime.sleep(rng.between(1, 30) * MS)


def trace_of(seed: int) -> list[str]:
    """Everything that happens in two seconds."""
    runtime = SimRuntime(seed)
    trace: list[str] = [str(runtime.knobs)]

    def make(machine: SimMachine) -> Program:
        return Gossip(machine, trace)

    async def main() -> None:
        for name in NAMES:
            runtime.world.add(name, make)
        runtime.spawn(nemesis(runtime, trace), name="nemesis")
        for number in range(3):
            runtime.spawn(client(runtime, number, trace), name=f"client {number}")
        await runtime.sleep(2_000 * MS)

    runtime.run(main())
    for name in NAMES:
        trace.extend(runtime.world.logs(name))
    return [*trace, f"{runtime.world.events} events"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(trace_of(int(sys.argv[1]))))
