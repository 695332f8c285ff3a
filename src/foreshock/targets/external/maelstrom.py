"""Any node that was written for Maelstrom: ``--target maelstrom -o bin=./my_node``, its ``lin-kv`` as a register.

A node is a program that speaks lines of JSON over stdin and stdout (https://github.com/jepsen-io/maelstrom, its
``doc/protocol.md``). A bridge runs beside each (``maelstrom_bridge.py``) and carries its messages over TCP.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from msgspec import Meta

from foreshock.harness.cluster import Cluster, Node
from foreshock.harness.errors import Definite, Indefinite, UsageError
from foreshock.harness.options import Options
from foreshock.harness.runtime import Connection, ConnectionClosed, ConnectionRefused, Runtime
from foreshock.harness.services import Key
from foreshock.harness.target import ClientContext, Target
from foreshock.targets.external.maelstrom_services import ABSENT, serve, services

_BRIDGE: Final = "maelstrom_bridge.py"
_DEFINITE: Final = frozenset({1, 10, 11, 12, 14, 20, 21, 22, 30})
"""The codes of errors that say that nothing was done and will be; all others leave it open."""
_FILES: Final = "other files that are to lie beside the program, separated by commas"
_PACKAGES: Final = "Debian packages that the program needs in its container, separated by commas (ruby, say)"


class MaelstromOptions(Options, frozen=True, kw_only=True):
    """Which program a node is."""

    bin: Annotated[str, Meta(description="the node's program, uploaded to every node")] = ""
    args: Annotated[str, Meta(description="what it is given as arguments")] = ""
    files: Annotated[str, Meta(description=_FILES)] = ""
    packages: Annotated[str, Meta(description=_PACKAGES)] = ""


class LinKv:
    """A client of the workload lin-kv: it speaks to one node, over one connection."""

    service: ClassVar[str] = "register"

    def __init__(self, context: ClientContext) -> None:
        self._context, self._requests = context, 0
        self._name = f"c{context.process + 1}"
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Connect; raises when the node is down."""
        self._connection = await self._context.runtime.connect(self._context.node.endpoint)

    async def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def read(self, key: Key) -> Any:
        """``read``; a key that does not exist is absent."""
        reply = await self._ask({"type": "read", "key": key})
        if (reply.get("type"), reply.get("code")) == ("error", ABSENT):
            return None
        return _expected(reply, "read_ok").get("value")

    async def write(self, key: Key, value: Any) -> None:
        """``write``."""
        _expected(await self._ask({"type": "write", "key": key, "value": value}), "write_ok")

    async def cas(self, key: Key, old: Any, new: Any) -> None:
        """``cas``, which can compare with a value alone."""
        if old is None:
            raise Definite("the cas of lin-kv cannot ask for absence")
        _expected(await self._ask({"type": "cas", "key": key, "from": old, "to": new}), "cas_ok")

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        runtime, node = self._context.runtime, self._context.node
        try:
            connection = self._connection = self._connection or await runtime.connect(node.endpoint)
        except ConnectionRefused as refused:
            raise Definite(str(refused)) from None
        self._requests = number = self._requests + 1
        try:
            await connection.send({"src": self._name, "dest": node.name, "body": {**body, "msg_id": number}})
            while True:
                reply = (await connection.receive()).get("body")
                if isinstance(reply, dict) and reply.get("in_reply_to") == number:
                    return reply
        except ConnectionClosed as closed:
            await self.close()
            raise Indefinite(f"{node.name}: {closed}") from None


def _expected(reply: dict[str, Any], kind: str) -> dict[str, Any]:
    """The reply, if it is of the kind; raises what an error, or nonsense, means."""
    if reply.get("type") == kind:
        return reply
    if reply.get("type") == "error" and reply.get("code") in _DEFINITE:
        raise Definite(f"error {reply['code']}: {reply.get('text')}")
    raise Indefinite(f"the answer was not {kind}: {str(reply)[:300]}")


class Maelstrom(Target[MaelstromOptions]):
    """Nodes that were written for Maelstrom, each with a bridge to the others."""

    Options = MaelstromOptions
    default_nodes = 3
    services: ClassVar[dict[str, type[Any]]] = {"register": LinKv}

    def __init__(self, options: MaelstromOptions, *, seed: int) -> None:
        super().__init__(options, seed=seed)
        if not options.bin:
            raise UsageError("the target 'maelstrom' does not know which program a node is: say -o bin=PATH")
        self._files: dict[str, bytes] = {}
        for path in map(Path, [options.bin, *filter(None, options.files.split(","))]):
            try:
                self._files[path.name] = path.read_bytes()
            except OSError as problem:
                raise UsageError(
                    f"the file {str(path)!r} of a node cannot be read: {problem.strerror}"
                ) from None
        vars(self)["packages"] = tuple(filter(None, options.packages.split(",")))

    def files(self) -> Mapping[str, bytes]:
        """The node's program and what it needs, and the bridge."""
        program = resources.files("foreshock.targets.external") / _BRIDGE
        return {**self._files, _BRIDGE: program.read_bytes()}

    def command(self, node: Node) -> Sequence[str]:
        """The bridge, which runs the node."""
        names = list(node.peers)
        names.insert(node.index, node.name)
        settings = {
            "name": node.name,
            "names": names,
            "listen": [node.listen.host, node.listen.port],
            "peers": {name: [at.host, at.port] for name, at in node.peers.items()},
            "command": [self.file(node, Path(self.options.bin).name), *shlex.split(self.options.args)],
        }
        return ["python3", self.file(node, _BRIDGE), json.dumps(settings)]

    async def set_up(self, cluster: Cluster, runtime: Runtime) -> None:
        """Have Maelstrom's services answer every node, for as long as the test lasts."""
        answers = services(runtime.random("maelstrom/services"))
        for node in cluster.nodes:
            runtime.spawn(serve(node, runtime, answers), name=f"services of {node.name}")
