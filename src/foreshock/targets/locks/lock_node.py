"""What the targets have in common whose nodes run one of the reference node's lock programs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from foreshock.harness.cluster import Node
from foreshock.harness.errors import UsageError
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target
from foreshock.targets.reference.admin_client import ask_status
from foreshock.targets.reference.clock_port import ClockPort
from foreshock.targets.reference.node.configuration import NodeConfiguration, bug_name
from foreshock.targets.reference.node.programs import load_program
from foreshock.targets.reference.node_command import node_command
from foreshock.targets.reference.zipapp import NODE_ZIPAPP, build_node_zipapp

_STATUS_TIMEOUT_MS = 500

OptionsT = TypeVar("OptionsT", bound=Options)


class LockNodeTarget(ClockPort, Target[OptionsT]):
    """Nodes that run ``program`` with the knobs of the options, or of the seed in the simulator."""

    program: ClassVar[str]
    """What the nodes run, as ``--program`` names it."""
    server_class: ClassVar[type[Any]]
    """The class of that program, for which a planted bug may stand in."""

    def __init__(self, options: OptionsT, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        knobs = load_program(self.program).knobs
        given = {name: getattr(options, name, None) for name in knobs._fields}
        self.chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        """The knobs that the user set."""
        try:
            knobs(**self.chosen).checked()
            drawn = self.draw_knobs(RandomStream(seed, f"target/{self.program}/knobs"))
            self.drawn: Any = knobs(**{**drawn, **self.chosen}).checked()
        except ValueError as problem:
            raise UsageError(f"target {self.program}: {problem}") from None

    @abstractmethod
    def draw_knobs(self, rng: RandomStream) -> Mapping[str, Any]:
        """The knobs of the nodes in a simulated test, as far as they are drawn from its seed."""

    @classmethod
    def takes_bug(cls, name: str, bug: type[Any]) -> bool:  # noqa: ARG003
        """Whether the bug is one of this program's."""
        return issubclass(bug, cls.server_class)

    def command(self, node: Node) -> Sequence[str]:
        """Run ``node.pyz`` with the user's knobs and the planted bug, if any."""
        knobs = {**self.chosen, **self.own_knobs(node)}
        path = self.file(node, NODE_ZIPAPP)
        return node_command(path, node, self.program, knobs, peers={}, bug=self.bug)

    def own_knobs(self, node: Node) -> Mapping[str, Any]:  # noqa: ARG002
        """Knobs that depend on where the node runs."""
        return {}

    def files(self) -> Mapping[str, bytes]:
        """The node itself, as one file."""
        return {NODE_ZIPAPP: build_node_zipapp()}

    def configuration(self, node: Node) -> NodeConfiguration:
        """What a simulated node is started with."""
        return NodeConfiguration(
            name=node.name,
            members=(node.name,),
            program=self.program,
            program_knobs=self.drawn,
            cluster=node.cluster,
            bug=None if self.bug is None else bug_name(self.bug),
        )

    async def ready(self, node: Node, runtime: Runtime) -> bool:
        """Whether the node answers a request for its status."""
        return await ask_status(node, runtime, timeout_ms=_STATUS_TIMEOUT_MS) is not None
