"""The interpreter, in the simulator and on the wall clock."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from foreshock.harness import generator as gen
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.errors import Definite, FaultError, HarnessError, Indefinite, PlugInError
from foreshock.harness.generator.base import Context, Generator, Liftable
from foreshock.harness.history import History, Row
from foreshock.harness.interpreter import Interpreter
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.recorder import HistoryRecorder
from foreshock.harness.runtime import Cancelled, TimeoutExpired
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.stalls import Stalls

MS = 1_000_000
SECOND = 1_000 * MS
OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO
READ, WRITE = Operation("read", key=1), Operation("write", key=1, value=5)
AnyRuntime = SimRuntime | AsyncioRuntime


@pytest.fixture(params=["sim", "asyncio"])
def runtime(request: pytest.FixtureRequest) -> AnyRuntime:
    return SimRuntime(1) if request.param == "sim" else AsyncioRuntime(1)


class Client:
    service: ClassVar[str] = "test"

    def __init__(self, bench: Bench, process: int, node: str) -> None:
        self.bench, self.process, self.node = bench, process, node

    async def open(self) -> None:
        return

    async def close(self) -> None:
        self.bench.closed.append(self.process)


class Wordless(Exception):
    """Fails when it is looked at, as does any object whose ``repr`` is wrong."""

    def __str__(self) -> str:
        return str(1 // 0)

    __repr__ = __str__


class Bench:
    """An interpreter with a client whose behaviour is one function."""

    def __init__(
        self,
        runtime: AnyRuntime,
        invoke: Callable[[Client, Operation], Awaitable[Any]] | None = None,
        *,
        nemesis: Callable[[Operation], Awaitable[Any]] | None = None,
        open_client: Callable[[int, str], Awaitable[Any]] | None = None,
        concurrency: int = 2,
        path: Path | None = None,
        timeout_ms: int = 1_000,
        nemesis_timeout_ms: int = 5_000,
        stalls: Stalls | None = None,
    ) -> None:
        self.runtime = runtime
        self.opened: list[tuple[int, str]] = []
        self.closed: list[int] = []
        self._invoke = invoke
        self._nemesis = nemesis
        self._open = open_client
        self.recorder = HistoryRecorder(path, runtime.now)
        self._options: dict[str, Any] = {
            "concurrency": concurrency,
            "nodes": ["n1", "n2", "n3"],
            "operation_timeout_ns": timeout_ms * MS,
            "nemesis_timeout_ns": nemesis_timeout_ms * MS,
            "stalls": stalls,
        }

    def interpreter(self) -> Interpreter:
        return Interpreter(
            self.runtime,
            self.recorder,
            open_client=self._open or self.open,
            invoke=self._invoke or self.nothing,
            nemesis=self._nemesis or self.no_fault,
            rng=self.runtime.random("generator"),
            **self._options,
        )

    async def open(self, process: int, node: str) -> Client:
        self.opened.append((process, node))
        return Client(self, process, node)

    async def nothing(self, client: Client, operation: Operation) -> None:
        return None

    async def no_fault(self, operation: Operation) -> None:
        return None

    def run(self, *generators: Liftable) -> list[Row]:
        """Run the generators one after the other, close, and give the rows."""

        async def main() -> None:
            interpreter = self.interpreter()
            try:
                for generator in generators:
                    await interpreter.run(generator)
            finally:
                self.errors = interpreter.nemesis_errors
                await interpreter.close()
                self.recorder.close()
                assert interpreter.in_flight == 0

        self.runtime.run(main())
        return list(self.recorder.history())


def clients(*operations: Operation) -> Liftable:
    return gen.clients(list(operations))


def test_what_is_invoked_is_performed_and_recorded(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> Any:
        await client.bench.runtime.sleep(MS)
        return [operation.f, client.process, client.node]

    rows = Bench(runtime, invoke, concurrency=1).run(clients(WRITE, READ))
    assert [(r.f, r.key, r.value, r.type, r.result, r.node) for r in rows] == [
        ("write", 1, 5, OK, ["write", 0, "n1"], "n1"),
        ("read", 1, None, OK, ["read", 0, "n1"], "n1"),
    ]
    assert [(r.invoke_index, r.complete_index) for r in rows] == [(0, 1), (2, 3)]
    assert all(r.complete_ns - r.invoke_ns >= MS for r in rows)


def test_an_invocation_is_on_disk_before_the_client_sees_it(runtime: AnyRuntime, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    seen: list[bool] = []

    async def invoke(client: Client, operation: Operation) -> None:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        seen.append(any(line["index"] == operation.index and line["type"] == "invoke" for line in lines))

    bench = Bench(runtime, invoke, concurrency=4, path=path)
    rows = bench.run(gen.clients(gen.limit(20, gen.repeat(WRITE))))
    assert seen == [True] * 20
    assert list(History.read(path)) == rows


def test_a_round_is_journalled_with_one_write(
    runtime: AnyRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    Bench(runtime, concurrency=10, path=tmp_path / "h.jsonl").run(
        gen.clients(gen.limit(100, gen.repeat(WRITE)))
    )
    assert len(writes) <= 14


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (Definite("it was not 5"), FAIL, "it was not 5"),
        (Indefinite("the leader is gone"), INFO, "the leader is gone"),
        (TimeoutExpired(), INFO, "timeout"),
        (TimeoutExpired("no answer"), INFO, "timeout: no answer"),
        (ValueError("what?"), INFO, "ValueError: what?"),
        (RuntimeError(), INFO, "RuntimeError"),
        (SystemExit(3), INFO, "SystemExit: 3"),
        (BaseExceptionGroup("two", [SystemExit(1)]), INFO, "BaseExceptionGroup: two (1 sub-exception)"),
        (Wordless(), INFO, "Wordless: (its text cannot be had: ZeroDivisionError)"),
    ],
)
def test_what_a_client_raises_says_how_its_operation_ended(
    runtime: AnyRuntime, error: BaseException, kind: OperationType, text: str
) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        raise error

    (row,) = Bench(runtime, invoke).run(clients(WRITE))
    assert (row.type, row.error, row.result) == (kind, text, None)


def test_after_info_the_thread_goes_on_with_a_new_process_and_client(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        if operation.f == "write":
            raise OSError("connection reset")

    bench = Bench(runtime, invoke, concurrency=2)
    rows = bench.run(gen.on_threads({1}, [WRITE, READ, WRITE, READ]))
    assert [(r.process, r.node, r.type) for r in rows] == [
        (1, "n2", INFO),
        (3, "n1", OK),
        (3, "n1", INFO),
        (5, "n3", OK),
    ]
    assert bench.opened == [(1, "n2"), (3, "n1"), (5, "n3")]
    assert sorted(bench.closed) == [1, 3, 5]


def test_after_fail_the_process_and_its_client_go_on(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        raise Definite("no")

    bench = Bench(runtime, invoke, concurrency=1)
    assert [r.process for r in bench.run(clients(WRITE, WRITE))] == [0, 0]
    assert bench.opened == [(0, "n1")]


def test_an_operation_that_takes_too_long_is_info_and_its_late_answer_is_ignored(runtime: AnyRuntime) -> None:
    late: list[str] = []

    async def invoke(client: Client, operation: Operation) -> str:
        if operation.f == "read":
            return "quick"
        try:
            await client.bench.runtime.sleep(10 * SECOND)
        except (asyncio.CancelledError, Cancelled):
            late.append("cancelled")
            return "late"
        return "never"

    bench = Bench(runtime, invoke, timeout_ms=60, concurrency=1)
    write, read = bench.run(clients(WRITE, READ))
    assert (write.type, write.error, write.result) == (INFO, "timeout", None)
    assert 60 * MS <= write.complete_ns - write.invoke_ns < 1 * SECOND
    assert (read.type, read.result, read.process) == (OK, "quick", 1)
    assert late == ["cancelled"]
    assert sorted(bench.closed) == [0, 1]


def test_the_time_out_does_not_run_while_a_process_stands_still() -> None:
    runtime = SimRuntime(1, SimKnobs())
    stalls = Stalls(runtime, 2)

    async def invoke(client: Client, operation: Operation) -> str:
        async def work() -> str:
            await runtime.sleep((40 if operation.f == "write" else 400) * MS)
            return "done"

        stalls.stall(frozenset({client.process}), 300 * MS)
        return await stalls.held(client.process, work())

    bench = Bench(runtime, invoke, timeout_ms=60, concurrency=2, stalls=stalls)
    write, read = bench.run(clients(WRITE, READ))
    assert (write.type, write.result, write.complete_ns - write.invoke_ns) == (OK, "done", 340 * MS)
    assert (read.type, read.error, read.complete_ns - read.invoke_ns) == (INFO, "timeout", 360 * MS)


def test_the_attempts_that_a_client_counts_are_recorded_with_each_operation(
    runtime: AnyRuntime, tmp_path: Path
) -> None:
    class Resending(Client):
        attempts = 0

    async def open_client(process: int, node: str) -> Client:
        return Resending(bench, process, node)

    async def invoke(client: Any, operation: Operation) -> None:
        if operation.f == "local":
            return
        client.attempts += operation.value
        if operation.f == "hang":
            await bench.runtime.sleep(10 * SECOND)

    bench = Bench(
        runtime, invoke, open_client=open_client, concurrency=1, timeout_ms=60, path=tmp_path / "h.jsonl"
    )
    operations = [
        Operation("send", value=1),
        Operation("send", value=3),
        Operation("local"),
        Operation("hang", value=2),
    ]
    rows = bench.run(clients(*operations))
    assert [(row.f, row.type, row.attempts) for row in rows] == [
        ("send", OK, 1),
        ("send", OK, 3),
        ("local", OK, 1),
        ("hang", INFO, 2),
    ]
    assert [row.attempts for row in History.read(tmp_path / "h.jsonl")] == [1, 3, 1, 2]


def test_a_client_that_cancels_itself_leaves_its_operation_unknown(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> str:
        if operation.f == "write":
            raise asyncio.CancelledError if isinstance(runtime, AsyncioRuntime) else Cancelled
        return "read"

    bench = Bench(runtime, invoke, timeout_ms=50, concurrency=1)
    write, read = bench.run(clients(WRITE, READ))
    assert (write.type, write.error) == (INFO, "timeout")
    assert (read.type, read.process) == (OK, 1)


def test_a_thousand_threads_with_crashes_all_get_their_turn() -> None:
    runtime = SimRuntime(1)
    rng = runtime.random("client")

    async def invoke(client: Client, operation: Operation) -> None:
        await runtime.sleep(rng.exponential(20 * MS))
        if rng.chance(1, 10):
            raise OSError("gone")

    rows = Bench(runtime, invoke, concurrency=1_000).run(
        gen.clients(gen.each_thread(gen.limit(3, gen.repeat(WRITE))))
    )
    assert len(rows) == 3_000
    assert {r.process % 1_000 for r in rows} == set(range(1_000))
    assert 200 < sum(r.type is INFO for r in rows) < 400


def test_time_outs_are_exact_in_virtual_time() -> None:
    runtime = SimRuntime(1)

    async def invoke(client: Client, operation: Operation) -> None:
        await client.bench.runtime.sleep(operation.value * MS)  # type: ignore[operator]

    durations = [999, 1_001, 3, 5_000, 500]
    operations = [Operation("nap", value=ms, time_ns=i * 137 * MS) for i, ms in enumerate(durations)]
    rows = Bench(runtime, invoke, timeout_ms=1_000, concurrency=5).run(gen.clients(operations))
    assert [(r.invoke_ns, r.complete_ns - r.invoke_ns, r.type) for r in rows] == [
        (i * 137 * MS, min(ms, 1_000) * MS, OK if ms < 1_000 else INFO) for i, ms in enumerate(durations)
    ]


def test_operations_start_at_their_time_and_not_before(runtime: AnyRuntime) -> None:
    times = [20, 5, 40]
    start = runtime.now()
    operations = [Operation("read", time_ns=start + ms * MS) for ms in times]
    rows = Bench(runtime, concurrency=3).run(gen.clients(gen.any_of(*operations)))
    assert [r.invoke_ns >= start + ms * MS for r, ms in zip(rows, sorted(times), strict=True)] == [True] * 3


def test_a_client_that_does_not_open_makes_its_operation_fail_and_is_tried_again(runtime: AnyRuntime) -> None:
    attempts: list[int] = []
    bench = Bench(runtime, concurrency=1)

    async def open_client(process: int, node: str) -> Client:
        attempts.append(process)
        if len(attempts) < 3:
            raise ConnectionRefusedError("nobody there")
        return Client(bench, process, node)

    bench._open = open_client
    rows = bench.run(clients(WRITE, WRITE, WRITE))
    assert [(r.process, r.type) for r in rows] == [(0, FAIL), (0, FAIL), (0, OK)]
    assert rows[0].error == "no client: ConnectionRefusedError: nobody there"
    assert attempts == [0, 0, 0]


def test_a_client_that_hangs_while_it_opens_makes_its_operation_fail(runtime: AnyRuntime) -> None:
    attempts: list[int] = []
    bench = Bench(runtime, concurrency=1, timeout_ms=50)

    async def open_client(process: int, node: str) -> Client:
        attempts.append(process)
        if len(attempts) == 1:
            await runtime.sleep(100 * SECOND)
        return Client(bench, process, node)

    bench._open = open_client
    rows = bench.run(clients(WRITE, WRITE))
    assert [(r.process, r.type, r.error) for r in rows] == [
        (0, FAIL, "no client: it did not open in time"),
        (0, OK, None),
    ]


def test_clients_that_fail_or_hang_or_block_as_they_close_do_not_matter(
    runtime: AnyRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    class Failing(Client):
        async def close(self) -> None:
            raise OSError("already gone")

    class Blocking(Client):
        def close(self) -> None:  # type: ignore[override]
            closed.append("in a thread")

    bench = Bench(runtime)

    async def open_client(process: int, node: str) -> Client:
        return (Failing, Blocking)[process](bench, process, node)

    bench._open = open_client
    with caplog.at_level(logging.WARNING, "foreshock"):
        rows = bench.run(gen.clients(gen.each_thread(WRITE)))
    assert [r.type for r in rows] == [OK, OK]
    assert closed == ["in a thread"]
    assert "the client of process 0 did not close: OSError: already gone" in caplog.text


def test_a_client_that_never_closes_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    runtime = SimRuntime(1)

    class Stuck(Client):
        async def close(self) -> None:
            await runtime.sleep(3600 * SECOND)

    bench = Bench(runtime, concurrency=1)

    async def open_client(process: int, node: str) -> Client:
        return Stuck(bench, process, node)

    bench._open = open_client
    with caplog.at_level(logging.WARNING, "foreshock"):
        bench.run(clients(WRITE))
    assert "the client of process 0 did not close: timeout" in caplog.text


def test_the_nemesis_performs_its_operations_on_its_own_thread(runtime: AnyRuntime) -> None:
    performed: list[Operation] = []

    async def nemesis(operation: Operation) -> dict[str, str]:
        performed.append(operation)
        return {"n1": "killed"}

    kill = Operation("kill", value=["n1"])
    bench = Bench(runtime, nemesis=nemesis)
    rows = bench.run(gen.nemesis([kill, kill], clients(WRITE)))
    assert [(r.process, r.type, r.result, r.node) for r in rows if r.f == "kill"] == [
        (NEMESIS, OK, {"n1": "killed"}, None)
    ] * 2
    assert [operation.value for operation in performed] == [["n1"], ["n1"]]
    assert bench.errors == []
    assert (bench.recorder.ok, bench.recorder.info) == (1, 0)


def test_what_the_nemesis_raises_is_info_and_kept(
    runtime: AnyRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    async def nemesis(operation: Operation) -> Any:
        if operation.f == "odd":
            return {1, 2}
        raise FaultError("the link n1-n2 was not cut")

    bench = Bench(runtime, nemesis=nemesis)
    rows = bench.run(gen.nemesis([Operation("cut"), Operation("odd"), Operation("cut")]))
    assert [(r.process, r.type) for r in rows] == [(NEMESIS, INFO)] * 3
    assert rows[0].error == "FaultError: the link n1-n2 was not cut"
    assert bench.errors[0] == "the nemesis operation 'cut' failed: FaultError: the link n1-n2 was not cut"
    assert "cannot be recorded" in bench.errors[1]
    assert len(bench.errors) == 3


def test_a_nemesis_that_exits_the_process_has_only_failed(runtime: AnyRuntime) -> None:
    async def nemesis(operation: Operation) -> None:
        raise SystemExit(1)

    bench = Bench(runtime, nemesis=nemesis)
    rows = bench.run(gen.nemesis([Operation("cut"), Operation("cut")]))
    assert [row.error for row in rows] == ["SystemExit: 1"] * 2
    assert len(bench.errors) == 2


def test_a_nemesis_that_hangs_is_given_up() -> None:
    runtime = SimRuntime(1)

    async def nemesis(operation: Operation) -> None:
        await runtime.sleep((1 if operation.f == "heal" else 3600) * SECOND)

    bench = Bench(runtime, nemesis=nemesis, nemesis_timeout_ms=30_000)
    cut, heal = bench.run(gen.nemesis([Operation("cut"), Operation("heal")]))
    assert (cut.type, cut.error, cut.complete_ns - cut.invoke_ns) == (INFO, "timeout", 30 * SECOND)
    assert (heal.type, heal.process) == (OK, NEMESIS)
    assert bench.errors == ["the nemesis operation 'cut' failed: it took longer than 30 s"]


def test_a_second_run_goes_on_where_the_first_ended(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        if operation.f == "write":
            raise OSError("gone")

    bench = Bench(runtime, invoke, concurrency=1)
    rows = bench.run(clients(WRITE, READ), clients(READ))
    assert [r.process for r in rows] == [0, 1, 1]
    assert [r.invoke_index for r in rows] == [0, 2, 4]
    assert bench.opened == [(0, "n1"), (1, "n2")]


def test_stop_asks_for_nothing_more_and_waits_for_what_is_in_flight(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        await client.bench.runtime.sleep(30 * MS)

    bench = Bench(runtime, invoke, concurrency=3)

    async def main() -> None:
        interpreter = bench.interpreter()
        run = runtime.spawn(
            interpreter.run(
                gen.any_of(gen.clients(gen.repeat(WRITE)), gen.nemesis(gen.repeat(gen.sleep(99 * SECOND))))
            ),
            name="run",
        )
        await runtime.sleep(10 * MS)
        assert interpreter.in_flight == 3
        interpreter.stop()
        await run.wait()
        assert interpreter.in_flight == 0
        await interpreter.run(clients(READ))
        interpreter.resume()
        await interpreter.run(clients(READ))
        await interpreter.close()

    runtime.run(main())
    assert [(r.f, r.type) for r in bench.recorder.history()] == [("write", OK)] * 3 + [("read", OK)]


def test_a_cancelled_run_leaves_its_operations_to_the_next_one(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        await client.bench.runtime.sleep((40 if operation.f == "write" else 1) * MS)

    bench = Bench(runtime, invoke, concurrency=2)

    async def main() -> None:
        interpreter = bench.interpreter()
        run = runtime.spawn(interpreter.run(gen.clients(gen.repeat(WRITE))), name="run")
        await runtime.sleep(10 * MS)
        run.cancel()
        with pytest.raises((asyncio.CancelledError, Cancelled)):
            await run.wait()
        assert interpreter.in_flight == 2
        await interpreter.run(gen.nemesis(Operation("heal")))
        assert interpreter.in_flight == 0
        await interpreter.close()

    runtime.run(main())
    rows = list(bench.recorder.history())
    assert [(r.f, r.type) for r in rows] == [("write", OK), ("write", OK), ("heal", OK)]


def test_close_makes_what_is_in_flight_info(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        await client.bench.runtime.sleep(100 * SECOND)

    bench = Bench(runtime, invoke, concurrency=2, timeout_ms=200_000)

    async def main() -> None:
        interpreter = bench.interpreter()
        run = runtime.spawn(interpreter.run(gen.clients(gen.repeat(WRITE))), name="run")
        await runtime.sleep(10 * MS)
        run.cancel()
        with pytest.raises((asyncio.CancelledError, Cancelled)):
            await run.wait()
        await interpreter.close()
        assert interpreter.in_flight == 0

    runtime.run(main())
    assert [(r.type, r.error) for r in bench.recorder.history()] == [(INFO, "interrupted")] * 2
    assert sorted(bench.closed) == [0, 1]


class Broken(Generator):
    """Gives two operations, then does what it is told."""

    __slots__ = ("given", "then")

    def __init__(self, then: Callable[[Context], Any], given: int = 0) -> None:
        self.then, self.given = then, given

    def __repr__(self) -> str:
        return "Broken()"

    def op(self, ctx: Context) -> Any:
        if self.given < 2:
            operation = Operation("write", process=self.given, time_ns=ctx.time_ns)
            return operation, Broken(self.then, self.given + 1)
        return self.then(ctx)


def raises(ctx: Context) -> Any:
    raise ZeroDivisionError("in the generator")


@pytest.mark.parametrize(
    ("then", "error", "text"),
    [
        (raises, ZeroDivisionError, "in the generator"),
        (lambda ctx: "read", PlugInError, "Broken.*gave 'read'.*must be"),
        (lambda ctx: (Operation("read"), None), PlugInError, "Broken.*must name its process"),
        (lambda ctx: (Operation("read", process=99, time_ns=0), None), PlugInError, "Broken.*99"),
        (
            lambda ctx: (Operation("read", value=object(), process=NEMESIS, time_ns=0), None),
            PlugInError,
            "cannot hold",
        ),
        (
            lambda ctx: (Operation("r", type=OK, process=NEMESIS, time_ns=0), None),
            PlugInError,
            "only invocations",
        ),
    ],
)
def test_a_generator_that_breaks_its_contract_ends_the_run_once_all_is_accounted_for(
    runtime: AnyRuntime, then: Callable[[Context], Any], error: type[Exception], text: str
) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        await client.bench.runtime.sleep(20 * MS)

    bench = Bench(runtime, invoke, concurrency=2)
    with pytest.raises(error, match=text):
        bench.run(Broken(then))
    done = [r.type for r in bench.recorder.history() if r.process >= 0]
    assert done == [OK] * len(done)


def test_a_generator_that_raises_when_told_of_an_event_ends_the_run(runtime: AnyRuntime) -> None:
    class Touchy(Generator):
        __slots__ = ()

        def op(self, ctx: Context) -> Any:
            answer = gen.op(WRITE, ctx)
            return (answer[0], self) if isinstance(answer, tuple) else answer

        def update(self, ctx: Context, event: Operation) -> Any:
            if event.type is OK:
                raise LookupError("in update")
            return self

    bench = Bench(runtime, concurrency=3)
    with pytest.raises(LookupError, match="in update"):
        bench.run(gen.clients(Touchy()))
    assert {r.type for r in bench.recorder.history()} == {OK}


def test_a_generator_that_can_never_go_on_is_an_error(runtime: AnyRuntime) -> None:
    with pytest.raises(PlugInError, match="pending, but nothing is in flight"):
        Bench(runtime).run([WRITE, lambda ctx: gen.PENDING])


def test_a_value_that_is_no_generator_is_an_error(runtime: AnyRuntime) -> None:
    with pytest.raises(PlugInError, match="'write' is no generator"):
        Bench(runtime).run("write")


@pytest.mark.parametrize("result", [object(), Wordless()], ids=["object", "broken object"])
def test_a_result_that_json_cannot_hold_ends_the_run_with_the_operation_unknown(
    runtime: AnyRuntime, result: object
) -> None:
    async def invoke(client: Client, operation: Operation) -> object:
        return result

    bench = Bench(runtime, invoke)
    with pytest.raises(PlugInError, match="the result of the operation 'write' cannot be recorded"):
        bench.run(gen.clients(gen.repeat(WRITE)))
    assert {r.type for r in bench.recorder.history()} == {INFO}


def test_a_full_disk_ends_the_run_with_all_accounted_for_and_nothing_unrecorded_sent(
    runtime: AnyRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int | None] = []
    room = 2_000
    real = os.write

    def write(fd: int, data: Any) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, bytes(data)[:room])
        room -= written
        return written

    async def invoke(client: Client, operation: Operation) -> None:
        sent.append(operation.index)
        await client.bench.runtime.sleep(MS)

    monkeypatch.setattr(os, "write", write)
    path = tmp_path / "history.jsonl"
    bench = Bench(runtime, invoke, concurrency=4, path=path)
    with pytest.raises(HarnessError, match="No space left on device"):
        bench.run(gen.clients(gen.repeat(WRITE)))
    monkeypatch.undo()
    on_disk = {row.invoke_index for row in History.read(path)}
    assert sent
    assert set(sent) <= on_disk
    rows = {row.invoke_index: row for row in bench.recorder.history()}
    assert {rows[index].type for index in sent if index is not None} == {OK}
    assert {row.type for index, row in rows.items() if index not in sent} <= {FAIL}


def test_sleep_and_log_never_get_into_the_history(
    runtime: AnyRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "foreshock"):
        rows = Bench(runtime, concurrency=1).run(
            gen.clients([gen.log("now"), WRITE, gen.sleep(30 * MS), READ])
        )
    assert [r.f for r in rows] == ["write", "read"]
    assert [r.invoke_index for r in rows] == [0, 2]
    assert rows[1].invoke_ns - rows[0].complete_ns >= 30 * MS
    assert "now" in caplog.text


def test_phases_wait_for_every_operation_of_the_one_before(runtime: AnyRuntime) -> None:
    async def invoke(client: Client, operation: Operation) -> None:
        await client.bench.runtime.sleep((1 + client.process * 5) * MS)

    rows = Bench(runtime, invoke, concurrency=4).run(
        gen.clients(gen.phases(gen.each_thread(WRITE), gen.each_thread(READ)))
    )
    assert max(r.complete_index for r in rows if r.f == "write") < min(
        r.invoke_index for r in rows if r.f == "read"
    )


def test_it_refuses_two_generators_at_once(runtime: AnyRuntime) -> None:
    bench = Bench(runtime)

    async def main() -> None:
        interpreter = bench.interpreter()
        run = runtime.spawn(interpreter.run(gen.nemesis(gen.sleep(50 * MS))), name="run")
        await runtime.sleep(0)
        await runtime.sleep(0)
        with pytest.raises(HarnessError, match="running already"):
            await interpreter.run(WRITE)
        await run.wait()
        await interpreter.close()

    runtime.run(main())


def test_staggered_operations_come_at_the_rate_that_was_asked_for() -> None:
    runtime = SimRuntime(7)
    rows = Bench(runtime, concurrency=5).run(
        gen.time_limit(100 * SECOND, gen.clients(gen.stagger(10 * MS, gen.repeat(WRITE))))
    )
    assert 9_500 < len(rows) < 10_500


def test_one_seed_gives_one_history(tmp_path: Path) -> None:
    def history(name: str) -> bytes:
        runtime = SimRuntime(42)
        rng = runtime.random("client")

        async def invoke(client: Client, operation: Operation) -> int:
            await runtime.sleep(rng.exponential(20 * MS))
            if rng.chance(1, 20):
                raise OSError("gone")
            if rng.chance(1, 10):
                raise Definite("no")
            return rng.below(10)

        writes = gen.mix([lambda ctx: Operation("write", value=ctx.rng.below(100)), gen.repeat(READ)])
        faults = gen.nemesis(
            gen.cycle([gen.sleep(SECOND), Operation("kill"), gen.sleep(SECOND), Operation("start")])
        )
        bench = Bench(runtime, invoke, concurrency=5, path=tmp_path / name, timeout_ms=50)
        bench.run(gen.time_limit(10 * SECOND, gen.any_of(gen.clients(gen.stagger(5 * MS, writes)), faults)))
        return (tmp_path / name).read_bytes()

    first = history("one.jsonl")
    assert first == history("two.jsonl")
    assert len(first.splitlines()) > 2_000
