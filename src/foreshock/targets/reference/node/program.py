"""What a node runs, whatever it is: the one interface between a program sans I/O and the shell that carries it.

A shell (the asyncio server, or the simulator's) calls the program with what happened and the time, and carries out
the :class:`Effects` that it returns. The shell's obligations:

* one call at a time; ``now_ns`` is the node's monotonic clock;
* ``on_tick`` no later than :attr:`NodeProgram.deadline_ns`, read anew after each call;
* when ``sync_up_to`` is not 0: sync everything that was written to the files so far, then call ``on_synced`` with it.
  The latest number stands for all before it, and only one sync need be under way: the next takes all that came
  meanwhile;
* ``on_close`` once for each connection that was ever heard of and is gone, whoever closed it;
* an ``OSError`` out of any call means that the disk refused, and nothing was promised on the strength of it; a
  :class:`NodeFailure` says why the node cannot go on. The shell puts it in the log and ends the node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from foreshock.targets.reference.node.effects import Effects

if TYPE_CHECKING:
    from foreshock.targets.reference.node.configuration import NodeConfiguration
    from foreshock.targets.reference.node.files import Files


class NodeProgram(Protocol):
    """One node, sans I/O; see the module's text for what its shell owes it."""

    deadline_ns: int
    """When ``on_tick`` is due, if nothing else happens before."""

    def on_start(self, now_ns: int) -> Effects:
        """Called once, first."""

    def on_tick(self, now_ns: int) -> Effects:
        """Time has passed. Early is harmless."""

    def on_synced(self, up_to: int, now_ns: int) -> Effects:
        """Everything written before the sync that was asked for with this number is on stable storage."""

    def on_peer(self, source: str, message: Any, now_ns: int) -> Effects:
        """A decoded message of a peer arrived; messages may be lost, delayed, reordered and duplicated."""

    def on_request(self, connection: int, message: Any, now_ns: int) -> Effects:
        """A message of a client arrived; whatever it is, it is answered, now or later."""

    def on_close(self, connection: int, now_ns: int) -> Effects:
        """A client's connection is gone; what it had asked for may still happen."""


class ProgramKind(NamedTuple):
    """One of the things that a node can run, as ``--program`` names it."""

    knobs: Any
    """The class of its knobs: a NamedTuple of int, bool and str fields with defaults, units last in their names, and a
    method ``checked()`` that returns the knobs or raises ``ValueError`` with a sentence."""

    build: Callable[[NodeConfiguration, Files, Callable[[int], int], int, type[Any] | None], NodeProgram]
    """``build(configuration, files, random_bits, now_ns, bug_class)``: the program on what its files hold; raises
    ``OSError`` when they cannot be read, and ``NodeFailure`` when what they hold cannot be trusted."""

    encode: Callable[[Any], Any]
    """A message to a peer as a JSON value."""

    decode: Callable[[Any], Any]
    """The message again, from whatever a peer sent; raises ``ValueError`` with a sentence."""


def variant(bug: type[Any] | None, correct: type[Any]) -> type[Any]:
    """The class to use in place of ``correct``: the planted bug where it is a subclass of it."""
    return bug if bug is not None and issubclass(bug, correct) else correct
