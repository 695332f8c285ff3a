"""Each mistake that the author of a plug-in can make is one sentence: the plug-in, the method, and how to write it."""

# ruff: noqa: E501 - sentences stand here as they are said
from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tests.commands import run_here

from foreshock.harness.checker import Checker
from foreshock.harness.cluster import Backend
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.plug_in_contract import load_class, load_like
from foreshock.harness.registry import Kind, names
from foreshock.harness.reporter import Reporter
from foreshock.harness.target import Target
from foreshock.harness.workload import Workload

BASES = {
    Kind.TARGETS: Target,
    Kind.WORKLOADS: Workload,
    Kind.NEMESES: Nemesis,
    Kind.CHECKERS: Checker,
    Kind.REPORTERS: Reporter,
}
HEAD = """
import sys
from foreshock.harness import *
from foreshock.harness import generator as gen
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.nemesis.kill import KillNemesis
from foreshock.targets.reference.raft_target import Raft
from foreshock.targets.reference.register_client import ReferenceRegisterClient
from foreshock.workloads.register import RegisterWorkload
"""
TARGETS = {
    "class X(Target): pass": "it does not define command: write def command(self, node: Node) -> Sequence[str]",
    """
    class X(Target):
        def comand(self, node): return ["true"]
    """: "it does not define command (did you mean 'comand'?): write def command(self, node: Node) -> Sequence[str]",
    "def X(): pass": "the function, no class, is not a subclass of foreshock.harness.Target: write class X(Target)",
    "class X(Workload): pass": "the class X is not a subclass of foreshock.harness.Target: write class X(Target)",
    """
    class X(Raft):
        def command(self): return ["true"]
    """: "command takes (), and is called with (node): write def command(self, node: Node) -> Sequence[str]",
    """
    class X(Raft):
        async def command(self, node): return ["true"]
    """: "command is async, and is not awaited: write def command(self, node: Node) -> Sequence[str]",
    """
    class X(Raft):
        command = ["redis-server"]
    """: "command is the list ['redis-server'], and must be a method: write def command(self, node: Node)",
    """
    class X(Raft):
        def ready(self, node, runtime): return True
    """: "ready is awaited, and is not async: write async def ready(self, node: Node, runtime: Runtime) -> bool",
    """
    class X(Raft):
        async def set_up(self, cluster): pass
    """: "set_up takes (cluster), and is called with (cluster, runtime): write async def set_up(self, cluster: Cluster",
    """
    class X(Raft):
        def stated_options(self, options, service): return {}
    """: "stated_options must be a class method: put @classmethod before it",
    """
    class X(Raft):
        def __init__(self, options): super().__init__(options, seed=1)
    """: "__init__ takes (options), and is called with (options, seed=...): write def __init__(self, options: OptionsT_co, *",
    """
    class X(Raft):
        def __init__(self, options, *, seed): raise RuntimeError("no licence")
    """: "cannot be made: RuntimeError: no licence (mine.py, line ",
    """
    class X(Raft):
        def command(self, node): return "redis-server --port"
    """: "command(node) returned the str 'redis-server --port': return a list of words, such as [",
    """
    class X(Raft):
        def command(self, node): return None
    """: "command(node) returned None: return a list of words, such as [",
    """
    class X(Raft):
        def command(self, node): return ["redis-server", node.listen.port]
    """: "returned the list ['redis-server', ",
    """
    class X(Raft):
        def environment(self, node): return {"PORT": 7}
    """: "returned the dict {'PORT': 7}: return a dict of texts, such as",
    """
    class X(Raft):
        def files(self): return {"my.conf": "text"}
    """: "files() returned the dict {'my.conf': 'text'}: return a dict of names to bytes, such as",
    """
    class X(Raft):
        default_nodes = "3"
    """: "its attribute 'default_nodes' is str '3': it must be a whole number above 0, such as default_nodes = 3",
    """
    class X(Raft):
        packages = "redis-server"
    """: """its attribute 'packages' is str 'redis-server': it must be a tuple of words, such as packages = ("redis""",
    """
    class X(Raft):
        services = ["register"]
    """: "its attribute 'services' is list ['register']: it must be the client classes by service, such as",
    """
    class X(Raft):
        class Options: port = 1
    """: "its attribute 'Options' is type <class ",
    """
    class X(Raft):
        @classmethod
        def stated_options(cls, options, service): return None
    """: "stated_options(options, service) returned None: return a dict of options by name, such as {}",
    """
    class X(Raft):
        services = {"registre": ReferenceRegisterClient}
    """: "needs the service 'register', and the target '{name}' offers registre",
    """
    class X(Raft):
        def enviroment(self, node): return {"MODE": "strict"}
    """: "it has 'enviroment', which nothing uses: did you mean 'environment'? If not, call it otherwise",
    """
    class X(Raft):
        default_node = 3
    """: "it has 'default_node', which nothing uses: did you mean 'default_nodes'? If not, call it otherwise",
    """
    class X(Raft):
        def client(self, service, context): pass
    """: "client(service, context) returned None: return self.services[service](context)",
    """
    class Client(ReferenceRegisterClient):
        def __init__(self): pass
    class X(Target):
        def command(self, node): return ["true"]
        services = {"register": Client}
    """: "__init__ takes (), and is called with (context): write def __init__(self, context: ClientContext)",
    """
    class Client(ReferenceRegisterClient):
        read = None
    class X(Raft):
        services = {"register": Client}
    """: "it has no method 'read' (write: async def read(self, key: Key) -> Value | None)",
    "import no_such_library": "does not import: ModuleNotFoundError: No module named 'no_such_library' (mine.py, line ",
    "class Y(Raft): pass": "has no class 'X'",
}
WORKLOADS = {
    "class X(RegisterWorkload):\n    service = None": "its attribute 'service' is None: it must be the name of a service",
    """
    class X(Workload):
        name = "x"
        def generator(self): return None
        def checkers(self): return {}
    """: "it has no attribute 'service': it must be the name of a service, such as service = ",
    "class X(Workload): pass": "it does not define checkers: write def checkers(self) -> Mapping[str, Checker]",
    """
    class X(RegisterWorkload):
        async def generator(self): yield Operation("read", 1)
    """: "generator is async, and is not awaited: write def generator(self) -> Liftable",
    """
    class X(RegisterWorkload):
        def invoke(self, client, operation, runtime): return 1
    """: "invoke is awaited, and is not async: write async def invoke(self, client: Any, operation: Operation, runtime",
    """
    class X(RegisterWorkload):
        def __init__(self, options): pass
    """: "__init__ takes (options), and is called with (options, context): write def __init__(self, options",
    """
    class X(RegisterWorkload):
        def checkers(self): return [LinearizableChecker("register")]
    """: "returned the list [<",
    """
    class X(RegisterWorkload):
        def checkers(self): return {"linearizable": LinearizableChecker}
    """: "checkers() has the class LinearizableChecker as 'linearizable': make one of it with ()",
    """
    class X(RegisterWorkload):
        def checkers(self): return {"mine": 7}
    """: "checkers() has a int as 'mine', which is no Checker: return a dict of checkers by name, such as",
    """
    class Mine(Checker):
        def check(self, history): return True
    class X(RegisterWorkload):
        def checkers(self): return {"mine": Mine()}
    """: "check takes (history), and is called with (history, context): write def check(self, history: History, context",
    """
    class Mine(Checker):
        async def check(self, history, context): return True
    class X(RegisterWorkload):
        def checkers(self): return {"mine": Mine()}
    """: "check is async, and is not awaited: write def check(self, history: History, context: CheckContext) -> CheckResult",
    """
    class X(RegisterWorkload):
        def generator(self): return "read"
    """: "generator() returned the str 'read': return a generator such as gen.mix([...]), an Operation, a list",
    """
    class X(RegisterWorkload):
        def generator(self):
            yield Operation("read", 1)
    """: "generator() returned the generator <generator object",
    """
    class X(RegisterWorkload):
        def generator(self): return gen.fn(lambda ctx: "read")
    """: "the generator's function <lambda> (mine.py, line 12): 'read' is no generator: give an Operation, a Generator, a list",
    """
    class X(RegisterWorkload):
        def generator(self): return gen.fn(lambda ctx: Operation("raed", 1))
    """: "the workload 'X': its operation 'raed' is no method of the client 'ReferenceRegisterClient' (did you mean 'read'",
    """
    class Mine(Checker):
        def check(self, history, context): return True
    class X(RegisterWorkload):
        def checkers(self): return {"mine": Mine()}
    """: 'check(history, context) returned the bool True: return CheckResult(verdict=Verdict.VALID, reason="...")',
}
NO_SLIPS = [
    """
    class X(Raft):
        def filess(self, name): return name.encode()
        def kept(self): return {"my.conf": self.filess("x")}
    """,
    """
    class X(Raft):
        ports = {"peer": 2380}
        def command(self, node): return ["true", str(self.ports["peer"])]
    """,
    """
    class X(Raft):
        def environments(self, node): return [{}]
    def helper(target): return getattr(target, "environments")
    """,
    """
    class X(Raft):
        def _enviroment(self, node): return {}
        def __enviroment(self, node): return {}
        def env(self, node): return {}
    """,
]
NEMESES = {
    "class X(Nemesis): pass": "it does not define final_generator: write def final_generator(self) -> Liftable",
    """
    class X(KillNemesis):
        def invoke(self, operation): return {}
    """: "invoke is awaited, and is not async: write async def invoke(self, operation: Operation) -> Any",
    """
    class X(KillNemesis):
        def fs(self): return frozenset({"kill"})
    """: "fs is a method, and is read without a call: put @property before it",
    """
    class X(KillNemesis):
        @property
        def fs(self): return ["kill", "start"]
    """: "fs returned the list ['kill', 'start']: return the names of its operations, such as frozenset(",
    """
    class X(KillNemesis):
        requires = ("Kill",)
    """: "its attribute 'requires' is tuple ('Kill',): it must be a set of capabilities, such as",
}


BACKENDS = {
    "class X: pass": "it does not define available: write def available(self) -> str | None",
    "def X(): pass": "the function is no class: write class X",
    """
    class X(SimBackend):
        def cluster(self, specification): return None
    """: "cluster takes (specification), and is called with (specification, runtime): write def cluster(self, specification",
    """
    class X(SimBackend):
        async def available(self): return None
    """: "available is async, and is not awaited: write def available(self) -> str | None",
    """
    class X(SimBackend):
        Options = dict
    """: "its attribute 'Options' is type <class 'dict'>: it must be a class of typed fields",
}


@pytest.mark.parametrize("code", BACKENDS)
def test_a_mistake_in_a_backend_is_one_sentence(
    code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        HEAD + "from foreshock.harness.backends.sim import SimBackend\n" + textwrap.dedent(code) + "\n"
    )
    exit_code, _, err = run_here(
        capsys, "test", "--backend", f"{path}:X", "--time-limit", "1", "--store", str(tmp_path / "store")
    )
    assert exit_code == 3
    assert f"the backend '{path}:X': {BACKENDS[code]}" in err


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            'def generator(self): return gen.fn(lambda ctx: Operation("kil"))',
            "no nemesis of this test performs 'kil'",
        ),
        (
            'def generator(self): return gen.fn(lambda ctx: Operation("start"))',
            "the nemeses gave 1000 operations at the same moment, and more: their generator must leave time between",
        ),
        (
            'def generator(self): return "kill"',
            "the nemesis 'kill': generator() returned the str 'kill': return a generator such as gen.mix([...])",
        ),
        (
            "def final_generator(self): return 7",
            "the nemesis 'kill': final_generator() returned the int 7: return a generator such as gen.mix([...])",
        ),
        (
            'def generator(self): return gen.fn(lambda ctx: "kill")',
            "the generator's function <lambda> (mine.py, line 11): 'kill' is no generator: give an Operation",
        ),
    ],
)
def test_a_nemesis_without_end_or_sense_ends_the_test(
    code: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In simulated time, which would stand still."""
    exit_code, text, _ = said("nemesis", f"class X(KillNemesis):\n    {code}\n", tmp_path, capsys)
    assert exit_code == 3
    assert sentence in text


def said(kind: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """What the command says of the class X in a file of that code."""
    path = tmp_path / "mine.py"
    path.write_text(HEAD + textwrap.dedent(code) + "\n")
    backend = "process" if kind == "target" and "command" not in code else "sim"
    backend = "process" if kind == "target" else backend
    words = [
        "--backend",
        backend,
        "--nodes",
        "1",
        "--time-limit",
        "0.3",
        "--recovery-time",
        "0",
        "--rate",
        "20",
    ]
    if kind != "target":
        words += ["--target", "raft"]
    exit_code, out, err = run_here(
        capsys, "test", f"--{kind}", f"{path}:X", *words, "--no-report", "--store", str(tmp_path / "store")
    )
    return exit_code, out + err, f"{path}:X"


@pytest.mark.parametrize("code", TARGETS)
def test_a_mistake_in_a_target_is_one_sentence(
    code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, text, name = said("target", code, tmp_path, capsys)
    assert exit_code in (3, 4)
    assert TARGETS[code].replace("{name}", name) in text


@pytest.mark.parametrize("code", NO_SLIPS)
def test_a_name_that_is_used_or_private_is_no_slip_of_another(code: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + textwrap.dedent(code) + "\n")
    assert load_class(Kind.TARGETS, f"{path}:X", Target)


@pytest.mark.parametrize("code", WORKLOADS)
def test_a_mistake_in_a_workload_or_its_checker_is_one_sentence(
    code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, text, _ = said("workload", code, tmp_path, capsys)
    assert exit_code in (2, 3, 4)
    assert WORKLOADS[code] in text


@pytest.mark.parametrize("code", NEMESES)
def test_a_mistake_in_a_nemesis_is_one_sentence(
    code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, text, name = said("nemesis", code, tmp_path, capsys)
    assert exit_code == 3
    assert f"the nemesis '{name}': {NEMESES[code]}" in text


def test_every_backend_of_ours_keeps_its_contract() -> None:
    for name in names(Kind.BACKENDS):
        assert load_like(Kind.BACKENDS, name, Backend)


@pytest.mark.parametrize("kind", BASES)
def test_every_plug_in_of_ours_keeps_its_contract(kind: Kind) -> None:
    for name in names(kind):
        assert load_class(kind, name, BASES[kind])
