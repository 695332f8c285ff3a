"""Plug-ins that do every thing that a plug-in should not do; ``tests/test_bad_luck.py`` selects them by path."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from foreshock.harness import generator as gen
from foreshock.harness.checker import CheckContext, Checker, CheckResult
from foreshock.harness.cluster import Cluster, Node
from foreshock.harness.errors import Definite
from foreshock.harness.history import History
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import ClientContext, Target
from foreshock.harness.verdict import Verdict
from foreshock.nemesis.kill import KillNemesis
from foreshock.targets.reference.raft_target import Raft
from foreshock.targets.reference.register_client import ReferenceRegisterClient
from foreshock.workloads.register import RegisterWorkload

# --- clients ----------------------------------------------------------------------------------------------


class OpenRaises(ReferenceRegisterClient):
    async def open(self) -> None:
        raise ValueError("no password given")


class OperationsRaise(ReferenceRegisterClient):
    async def read(self, key: Any) -> Any:
        raise KeyError("value")

    async def write(self, key: Any, value: Any) -> None:
        raise KeyError("value")

    async def cas(self, key: Any, old: Any, new: Any) -> None:
        raise KeyError("value")


class ReadsWhatIsNotJson(ReferenceRegisterClient):
    async def read(self, key: Any) -> Any:
        return {1, 2}


class LacksCas:
    """A client without one method, and with another that takes too few arguments."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext) -> None:
        pass

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def read(self, key: Any) -> Any:
        raise Definite("unused")

    async def write(self, key: Any) -> None:
        raise Definite("unused")


def _raft_with(client: Any) -> type[Raft]:
    return type("RaftWith", (Raft,), {"services": {"register": client}})


RaftOpenRaises = _raft_with(OpenRaises)
RaftOperationsRaise = _raft_with(OperationsRaise)
RaftReadsWhatIsNotJson = _raft_with(ReadsWhatIsNotJson)
RaftLacksCas = _raft_with(LacksCas)


class RaftMakesLackingClients(Raft):
    """What its clients lack is only seen when one is made."""

    def client(self, service: str, context: ClientContext) -> Any:
        return LacksCas(context)


# --- targets ----------------------------------------------------------------------------------------------


class CannotBeMade(Raft):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        raise RuntimeError("no licence")


class SetUpRaises(Raft):
    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        raise RuntimeError("cannot create the table")


class SetUpHangs(Raft):
    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        await runtime.channel(1).get()


class _OneNode(Target[Any]):
    """A node that is a line of shell."""

    default_nodes = 1
    services: ClassVar[Mapping[str, type[Any]]] = {"register": OpenRaises}
    script = ""

    def command(self, node: Node) -> Sequence[str]:
        return ["sh", "-c", self.script]


class Exits(_OneNode):
    script = "echo starting; echo the disk is upside down >&2; exit 7"


class NeverReady(_OneNode):
    script = "echo waiting for nothing; exec sleep 600"


class PortOptions(Options, frozen=True, kw_only=True):
    port_wanted: int = 0


BIND = """
import socket, sys
try:
    socket.socket().bind(("127.0.0.1", int(sys.argv[1])))
except OSError as error:
    sys.exit(f"port {sys.argv[1]}: {error.strerror}")
"""


class PortTaken(_OneNode):
    """A node that will have one port and no other."""

    Options = PortOptions

    def command(self, node: Node) -> Sequence[str]:
        return ["python3", "-c", BIND, str(self.options.port_wanted)]


class NoSuchPackage(NeverReady):
    packages = ("foreshock-has-no-such-package",)


# --- workloads and checkers ---------------------------------------------------------------------------------


class WorkloadCannotBeMade(RegisterWorkload):
    def __init__(self, *arguments: Any) -> None:
        raise RuntimeError("no keys")


class GeneratorRaises(RegisterWorkload):
    def generator(self) -> Any:
        raise RuntimeError("no more ideas")


class GeneratorRaisesLater(RegisterWorkload):
    def generator(self) -> Any:
        given = iter(range(20))

        def give(_ctx: Any) -> Operation:
            if next(given, None) is None:
                raise RuntimeError("no more ideas")
            return Operation("read", 1)

        return gen.fn(give)


class GeneratorExits(RegisterWorkload):
    def generator(self) -> Any:
        given = iter(range(20))

        def give(_ctx: Any) -> Operation:
            if next(given, None) is None:
                sys.exit(0)
            return Operation("read", 1)

        return gen.fn(give)


class FinalRaises(RegisterWorkload):
    def final_generator(self) -> Any:
        raise RuntimeError("no end")


class _Raises(Checker):
    name = "raises"

    def check(self, history: History, context: CheckContext) -> CheckResult:
        raise RuntimeError("I lost count")


class CheckerRaises(RegisterWorkload):
    def checkers(self) -> Mapping[str, Checker]:
        return {**super().checkers(), "raises": _Raises()}


class _Exits(Checker):
    name = "exits"

    def check(self, history: History, context: CheckContext) -> CheckResult:
        sys.exit(0)


class CheckerExits(RegisterWorkload):
    def checkers(self) -> Mapping[str, Checker]:
        return {**super().checkers(), "exits": _Exits()}


class CheckersRaise(RegisterWorkload):
    def checkers(self) -> Mapping[str, Checker]:
        raise RuntimeError("no checkers today")


class _ReturnsNothing(Checker):
    name = "nothing"

    def check(self, history: History, context: CheckContext) -> CheckResult:
        return None  # type: ignore[return-value]


class CheckerReturnsNothing(RegisterWorkload):
    def checkers(self) -> Mapping[str, Checker]:
        return {"nothing": _ReturnsNothing()}


class _Endless(Checker):
    name = "endless"

    def check(self, history: History, context: CheckContext) -> CheckResult:
        sys.stderr.write("the endless checker has begun\n")
        sys.stderr.flush()
        while not context.should_stop():
            time.sleep(0.01)
        return CheckResult(verdict=Verdict.UNKNOWN, reason="it was interrupted")


class CheckerIsEndless(RegisterWorkload):
    def checkers(self) -> Mapping[str, Checker]:
        return {**super().checkers(), "endless": _Endless()}


# --- nemeses ------------------------------------------------------------------------------------------------


class NemesisCannotBeMade(KillNemesis):
    def __init__(self, *arguments: Any) -> None:
        raise RuntimeError("no sword")


class NemesisRaises(KillNemesis):
    async def invoke(self, operation: Operation) -> Any:
        raise RuntimeError("the sword broke")


class NemesisExits(KillNemesis):
    async def invoke(self, operation: Operation) -> Any:
        await super().invoke(operation)
        sys.exit(0)


class NemesisNeverHeals(KillNemesis):
    def final_generator(self) -> Any:
        raise RuntimeError("no cure")
