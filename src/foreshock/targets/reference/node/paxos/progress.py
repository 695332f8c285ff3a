"""What a candidate or leader knows of one other node, and how much it may send it."""

from __future__ import annotations


class Progress:
    """One other node: how far it is with phase 1, with phase 2, and with learning."""

    __slots__ = (
        "_ahead",
        "chosen",
        "heard_ns",
        "inflight",
        "match",
        "next",
        "promised",
        "promised_up_to",
        "round",
    )

    def __init__(self, first: int, now_ns: int) -> None:
        self.promised = False
        """Whether its promise of our ballot is complete."""
        self.promised_up_to = first
        """The first slot that its promise has not told of yet."""
        self.match = first - 1
        """All slots up to here have been accepted there under our ballot, or are known there to be chosen."""
        self.next = first
        """The next slot to send."""
        self.inflight: dict[int, int] = {}
        """The last slots of the accept messages on their way, and when they were sent (ns), oldest first."""
        self.chosen = 0
        """Up to which slot it said that it knows what is chosen."""
        self.round = 0
        """The latest round of confirmation that it echoed."""
        self.heard_ns = now_ns
        """When it last answered under our ballot; it starts with the benefit of the doubt."""
        self._ahead: dict[int, int] = {}

    def accepted(self, first: int, last: int) -> None:
        """Take note of the acceptance of some slots; answers may overtake each other."""
        if self.inflight:
            for end in [end for end in self.inflight if first <= end <= last]:
                del self.inflight[end]
        if first <= self.match + 1:
            self.match = max(self.match, last)
        else:
            self._ahead[first] = max(last, self._ahead.get(first, 0))
        self._close_gaps()

    def knows(self, chosen: int) -> None:
        """Take note that all up to a slot is known there to be chosen: no need to send it."""
        self.chosen = max(self.chosen, chosen)
        if chosen > self.match:
            self.match = chosen
            self.next = max(self.next, chosen + 1)
            for end in [end for end in self.inflight if end <= chosen]:
                del self.inflight[end]
            self._close_gaps()

    def _close_gaps(self) -> None:
        while self._ahead and (first := min(self._ahead)) <= self.match + 1:
            self.match = max(self.match, self._ahead.pop(first))

    def rewind_if_silent(self, now_ns: int, patience_ns: int) -> None:
        """Begin again after the last slot known to be accepted, if what was sent is unanswered for so long."""
        if self.inflight and now_ns - next(iter(self.inflight.values())) >= patience_ns:
            self.inflight.clear()
            self._ahead.clear()
            self.next = self.match + 1
