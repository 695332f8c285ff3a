"""The kernel: the vocabulary of a chaos test, and what runs one.

This is what a plug-in imports: ``from foreshock.harness import Target, Definite``. The names come from the modules
beside this one, and are loaded when they are first used, so that importing the kernel costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing is slow to import, and the command is not yet ready for a Ctrl-C here
if TYPE_CHECKING:
    from typing import Any

    from foreshock.harness.capabilities import (
        Clock,
        ClockReading,
        Disk,
        DiskFault,
        DiskReading,
        Grudge,
        Kill,
        Link,
        LinkReading,
        LinkShape,
        Membership,
        Partition,
        Pause,
        PowerCut,
        Primary,
        Shape,
        Stall,
        Starve,
        Upgrade,
    )
    from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
    from foreshock.harness.cluster import Backend, Cluster, ClusterSpecification, Endpoint, Node
    from foreshock.harness.errors import (
        Definite,
        DeployError,
        FaultError,
        ForeshockError,
        HarnessError,
        Indefinite,
        PlugInError,
        UsageError,
    )
    from foreshock.harness.exhibit import Exhibit, Promise
    from foreshock.harness.generator.base import PENDING, Generator
    from foreshock.harness.history import History
    from foreshock.harness.ledger import Fault, FaultLedger
    from foreshock.harness.model import ILLEGAL, UNKNOWN, Model
    from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
    from foreshock.harness.operation import NEMESIS, Operation, OperationType
    from foreshock.harness.options import Options
    from foreshock.harness.pytest_plugin.fixture import Foreshock
    from foreshock.harness.randomness import RandomStream
    from foreshock.harness.reporter import Reporter
    from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, Runtime, TimeoutExpired
    from foreshock.harness.services import CacheClient, Client, Grant, LockClient, RegisterClient
    from foreshock.harness.target import ClientContext, Target
    from foreshock.harness.verdict import ExitCode, Verdict
    from foreshock.harness.workload import Workload, WorkloadContext

_MODULE_OF = {
    "CheckContext": "checker",
    "Checker": "checker",
    "CheckResult": "checker",
    "Counterexample": "checker",
    "Backend": "cluster",
    "Clock": "capabilities",
    "ClockReading": "capabilities",
    "Cluster": "cluster",
    "ClusterSpecification": "cluster",
    "Endpoint": "cluster",
    "Grudge": "capabilities",
    "Kill": "capabilities",
    "Membership": "capabilities",
    "Node": "cluster",
    "Partition": "capabilities",
    "Pause": "capabilities",
    "PowerCut": "capabilities",
    "Primary": "capabilities",
    "Stall": "capabilities",
    "Disk": "capabilities",
    "DiskFault": "capabilities",
    "DiskReading": "capabilities",
    "Link": "capabilities",
    "LinkReading": "capabilities",
    "LinkShape": "capabilities",
    "Shape": "capabilities",
    "Starve": "capabilities",
    "Upgrade": "capabilities",
    "Definite": "errors",
    "DeployError": "errors",
    "FaultError": "errors",
    "ForeshockError": "errors",
    "HarnessError": "errors",
    "Indefinite": "errors",
    "PlugInError": "errors",
    "UsageError": "errors",
    "PENDING": "generator.base",
    "Exhibit": "exhibit",
    "Promise": "exhibit",
    "Generator": "generator.base",
    "History": "history",
    "Fault": "ledger",
    "FaultLedger": "ledger",
    "ILLEGAL": "model",
    "UNKNOWN": "model",
    "Model": "model",
    "Nemesis": "nemesis",
    "NemesisContext": "nemesis",
    "Shade": "nemesis",
    "NEMESIS": "operation",
    "Operation": "operation",
    "OperationType": "operation",
    "Options": "options",
    "Foreshock": "pytest_plugin.fixture",
    "RandomStream": "randomness",
    "Reporter": "reporter",
    "ConnectionClosed": "runtime",
    "ConnectionRefused": "runtime",
    "Runtime": "runtime",
    "TimeoutExpired": "runtime",
    "CacheClient": "services",
    "Client": "services",
    "Grant": "services",
    "LockClient": "services",
    "RegisterClient": "services",
    "ClientContext": "target",
    "Target": "target",
    "ExitCode": "verdict",
    "Verdict": "verdict",
    "Workload": "workload",
    "WorkloadContext": "workload",
}

__all__ = [
    "ILLEGAL",
    "NEMESIS",
    "PENDING",
    "UNKNOWN",
    "Backend",
    "CacheClient",
    "CheckContext",
    "CheckResult",
    "Checker",
    "Client",
    "ClientContext",
    "Clock",
    "ClockReading",
    "Cluster",
    "ClusterSpecification",
    "ConnectionClosed",
    "ConnectionRefused",
    "Counterexample",
    "Definite",
    "DeployError",
    "Disk",
    "DiskFault",
    "DiskReading",
    "Endpoint",
    "Exhibit",
    "ExitCode",
    "Fault",
    "FaultError",
    "FaultLedger",
    "Foreshock",
    "ForeshockError",
    "Generator",
    "Grant",
    "Grudge",
    "HarnessError",
    "History",
    "Indefinite",
    "Kill",
    "Link",
    "LinkReading",
    "LinkShape",
    "LockClient",
    "Membership",
    "Model",
    "Nemesis",
    "NemesisContext",
    "Node",
    "Operation",
    "OperationType",
    "Options",
    "Partition",
    "Pause",
    "PlugInError",
    "PowerCut",
    "Primary",
    "Promise",
    "RandomStream",
    "RegisterClient",
    "Reporter",
    "Runtime",
    "Shade",
    "Shape",
    "Stall",
    "Starve",
    "Target",
    "TimeoutExpired",
    "Upgrade",
    "UsageError",
    "Verdict",
    "Workload",
    "WorkloadContext",
]


def __getattr__(name: str) -> Any:
    """Load a public name on its first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
