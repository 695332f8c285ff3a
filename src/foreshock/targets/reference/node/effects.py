"""What one call of the node's machine asks of the shell that carries it."""

from __future__ import annotations

from typing import Any

from foreshock.targets.reference.node.wire import Message


class NodeFailure(Exception):
    """The node cannot go on; the text is one sentence for a person."""


class Effects:
    """The shell does all of it, and closes connections last (whatever depends on durability was held back).

    ``send``: protocol messages to peers, which may be lost. ``replies``: envelopes to clients by connection; one to a
    connection that is gone is dropped. ``sync_up_to``: what has been appended so far is to be synced, and then
    reported by ``on_synced`` with this number (0: nothing new). ``logs``: sentences for the node's log. ``close``:
    clients' connections to end; ``on_close`` follows for each of them, as for any other that is gone.
    """

    __slots__ = ("close", "logs", "replies", "send", "sync_up_to")

    def __init__(self) -> None:
        self.send: list[tuple[str, Any]] = []
        self.replies: list[tuple[int, Message]] = []
        self.sync_up_to = 0
        self.logs: list[str] = []
        self.close: list[int] = []
