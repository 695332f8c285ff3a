"""Operations a second through the whole interpreter, with a client that does nothing.

Generator, scheduling, journal on disk, history in memory, asyncio: all of it. Beside it, in the same run, what the
machine could do at best: a bare asyncio loop of as many coroutines that only await, once an operation. Jepsen says
18,000 to 20,000 operations/s of its interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from foreshock.harness import generator as gen
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.generator.base import Liftable
from foreshock.harness.interpreter import Interpreter
from foreshock.harness.operation import Operation
from foreshock.harness.recorder import HistoryRecorder
from foreshock.harness.runtime import Runtime
from foreshock.harness.simulation.runtime import SimRuntime

JEPSEN = "18,000-20,000"
AIM_OPERATIONS_A_SECOND = 50_000


class NothingClient:
    """Opens, closes, and does nothing in between."""

    service: ClassVar[str] = "nothing"

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return


async def open_client(_process: int, _node: str) -> NothingClient:
    return NothingClient()


async def do_nothing(_client: Any, _operation: Operation) -> None:
    return


async def no_nemesis(_operation: Operation) -> None:
    return


def plain(count: int) -> Liftable:
    """The same operation again and again."""
    return gen.clients(gen.limit(count, gen.repeat(Operation("write", key=1, value=5))))


def realistic(count: int) -> Liftable:
    """A register workload: random reads, writes of distinct values, and cas."""
    value = 0

    def write(_ctx: gen.Context) -> Operation:
        nonlocal value
        value += 1
        return Operation("write", key=value // 200, value=value)

    def cas(_ctx: gen.Context) -> Operation:
        return Operation("cas", key=value // 200, value=[value, value + 1])

    def read(_ctx: gen.Context) -> Operation:
        return Operation("read", key=value // 200)

    return gen.clients(gen.limit(count, gen.mix(read, write, cas)))


class Figure(NamedTuple):
    """Operations a second by the clock, and by the time that this process had a processor for itself."""

    by_clock: float
    by_processor: float


class Stopwatch:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def figure(self, operations: int) -> Figure:
        clock, processor = time.perf_counter() - self._clock, time.process_time() - self._processor
        return Figure(operations / clock, operations / processor)


def measure(runtime: Any, concurrency: int, generator: Liftable, path: Path | None) -> Figure:
    """Operations a second."""

    async def main(runtime: Runtime) -> Figure:
        recorder = HistoryRecorder(path, runtime.now)
        interpreter = Interpreter(
            runtime,
            recorder,
            concurrency=concurrency,
            nodes=("n1", "n2", "n3"),
            open_client=open_client,
            invoke=do_nothing,
            nemesis=no_nemesis,
            rng=runtime.random("generator"),
            operation_timeout_ns=5_000_000_000,
        )
        stopwatch = Stopwatch()
        await interpreter.run(generator)
        figure = stopwatch.figure(recorder.ok)
        await interpreter.close()
        recorder.close()
        return figure

    result: Figure = runtime.run(main(runtime))
    return result


def bare_loop(concurrency: int, count: int) -> Figure:
    """The peer: coroutines of the same runtime that await once an operation and do nothing else."""
    runtime = AsyncioRuntime(1)

    async def work() -> None:
        for _ in range(count // concurrency):
            await asyncio.sleep(0)

    async def main() -> Figure:
        stopwatch = Stopwatch()
        tasks = [runtime.spawn(work(), name="work") for _ in range(concurrency)]
        for task in tasks:
            await task.wait()
        return stopwatch.figure(count)

    return runtime.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count, concurrency = options.operations, options.concurrency
    best: dict[str, Figure] = {}

    def keep(name: str, figure: Figure) -> None:
        best[name] = Figure(*map(max, figure, best.get(name, figure)))

    for _ in range(options.rounds):
        # Taken in turn, so that a busy moment of the machine does not strike one alone.
        keep("bare_asyncio_loop", bare_loop(concurrency, count))
        with tempfile.TemporaryDirectory() as folder:
            history = Path(folder) / "history.jsonl"
            keep("interpreter", measure(AsyncioRuntime(1), concurrency, plain(count), history))
            history.unlink()
            keep(
                "interpreter_register_workload",
                measure(AsyncioRuntime(1), concurrency, realistic(count), history),
            )
        keep("interpreter_in_simulator", measure(SimRuntime(1), concurrency, plain(count), None))
    if options.json:
        figures = {name: figure._asdict() for name, figure in best.items()}
        print(json.dumps({"operations_a_second": figures, "aim": AIM_OPERATIONS_A_SECOND, "jepsen": JEPSEN}))
        return
    print(
        f"{count:,} operations, concurrency {concurrency}, best of {options.rounds}; on asyncio the journal is on disk"
    )
    print(f"  {'operations a second':<32} {'by the clock':>14} {'by processor time':>18}")
    for name, figure in best.items():
        print(f"  {name.replace('_', ' '):<32} {figure.by_clock:>14,.0f} {figure.by_processor:>18,.0f}")
    print(f"  {'aim':<32} {AIM_OPERATIONS_A_SECOND:>14,}")
    print(f"  {'Jepsen, by its own account':<32} {JEPSEN:>14}")


if __name__ == "__main__":
    main()
