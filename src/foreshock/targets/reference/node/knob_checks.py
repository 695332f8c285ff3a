"""What every class of knobs checks alike, in one place, so that the sentences are the same wherever a knob is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def check_integers(knobs: Any, *, from_zero: Collection[str] = (), besides: Collection[str] = ()) -> None:
    """Raise ``ValueError`` with a sentence unless each knob is an integer of at least 1.

    Those named ``from_zero``, flags among them, may be 0; those named ``besides`` are checked by their owner.
    """
    for name, value in zip(knobs._fields, knobs, strict=True):
        if name in besides:
            continue
        least = 0 if name in from_zero else 1
        if not isinstance(value, int) or value < least:
            raise ValueError(f"the knob {name} is {value!r}, but must be an integer of at least {least}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise ``ValueError`` with a sentence unless a knob is one of its choices."""
    if value not in choices:
        raise ValueError(f"the knob {name} is {value!r}, but must be one of {', '.join(choices)}")


def check_heartbeat(knobs: Any, silence: str) -> None:
    """Raise ``ValueError`` unless two heartbeats fit into the knob ``silence``, after which a leader is given up."""
    if knobs.heartbeat_ms * 2 > getattr(knobs, silence):
        raise ValueError(
            f"heartbeat_ms ({knobs.heartbeat_ms}) must be at most half of {silence} "
            f"({getattr(knobs, silence)}), else one lost heartbeat ends a leader"
        )


def check_election_timeouts(knobs: Any, otherwise: str) -> None:
    """Raise ``ValueError`` unless waits can differ; ``otherwise`` says what comes of it when they cannot."""
    least, greatest = knobs.election_timeout_min_ms, knobs.election_timeout_max_ms
    if greatest <= least:
        raise ValueError(
            f"election_timeout_max_ms ({greatest}) must be greater than "
            f"election_timeout_min_ms ({least}), else {otherwise}"
        )
