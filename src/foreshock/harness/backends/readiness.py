"""Waiting for the nodes of a cluster to become healthy, in whatever way they live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from foreshock.harness.backends.together import run_all
from foreshock.harness.cluster import Node
from foreshock.harness.errors import DeployError
from foreshock.harness.runtime import Runtime, TimeoutExpired

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.25
_ASK_TIMEOUT_NS: Final = 5_000_000_000
LAST_LINES: Final = 3
_LINE_CHARACTERS_MAX: Final = 300


class NodeExited(DeployError):
    """A node's process ended before it was ready."""

    def __init__(self, node: str, status: str, last_lines: str) -> None:
        super().__init__(f"node {node} ended at its start with {status}{last_lines}")
        self.node = node


def last_lines(log: str) -> str:
    """The end of a node's log as the end of a sentence."""
    lines = [line.strip()[:_LINE_CHARACTERS_MAX] for line in log.splitlines() if line.strip()]
    if not lines:
        return "; its log is empty"
    return "; its log ends: " + " | ".join(lines[-LAST_LINES:])


async def wait_until_ready(
    nodes: Sequence[Node],
    ready: Callable[[Node], Coroutine[Any, Any, bool]],
    runtime: Runtime,
    *,
    timeout_ms: int,
    exited: Callable[[str], Awaitable[str | None]],
    read_log: Callable[[str], Awaitable[str]],
) -> None:
    """Return when every node is ready; raises ``DeployError`` when one ends or is not ready in time.

    ``ready(node)`` is asked again and again; ``exited(name)`` says how the node's process ended
    (``exit status 1``), ``None`` while it runs; ``read_log(name)`` gives the end of its log.
    """

    async def one(node: Node) -> None:
        pause, complaint = _FIRST_PAUSE_S, ""
        deadline = asyncio.get_running_loop().time() + timeout_ms / 1000
        while True:
            is_ready, complaint = await _ask(ready(node), node, runtime)
            status = await exited(node.name)
            if status is not None:
                raise NodeExited(node.name, status, last_lines(await read_log(node.name)))
            if is_ready:
                return
            if asyncio.get_running_loop().time() >= deadline:
                raise DeployError(
                    f"node {node.name} was not ready within {timeout_ms / 1000:g} s{complaint}"
                    f"{last_lines(await read_log(node.name))}"
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    await run_all([one(node) for node in nodes])


async def _ask(question: Coroutine[Any, Any, bool], node: Node, runtime: Runtime) -> tuple[bool, str]:
    try:
        return await runtime.timeout(question, _ASK_TIMEOUT_NS), ""
    except TimeoutExpired:
        return False, " (it accepts connections but does not answer)"
    except Exception as error:  # noqa: BLE001 - a target's check may raise whatever its client library does
        _log.debug("the check of node %s raised %r", node.name, error)
        return False, f" ({type(error).__name__}: {error})"
