"""The options that every target of the reference node has, and what the options of its programs share."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from foreshock.harness.options import Options
from foreshock.targets.reference.node.machine import NodeKnobs


def knob(knobs: Any, name: str, text: str) -> Meta:
    """The description of an option that sets a knob of the class ``knobs``."""
    return Meta(
        description=f"{text} Default: {knobs._field_defaults[name]}; drawn from the seed in the simulator."
    )


class ReferenceOptions(Options, frozen=True):
    """Options of the node that carries the program, and of its clients."""

    sessions_max: Annotated[int, Meta(description="Client sessions in the cluster at most.", ge=1)] = (
        NodeKnobs._field_defaults["sessions_max"]
    )
    requests_max: Annotated[
        int, Meta(description="Requests under way at one node before it refuses more.", ge=1)
    ] = NodeKnobs._field_defaults["requests_max"]
    request_timeout_ms: Annotated[
        int,
        Meta(description="How long a node works on one request before it says that nobody knows (ms).", ge=1),
    ] = NodeKnobs._field_defaults["request_timeout_ms"]
    clock_margin_percent: Annotated[
        int,
        Meta(description="How much longer than its time to live a session may be silent (percent).", ge=0),
    ] = NodeKnobs._field_defaults["clock_margin_percent"]
    session_ttl_ms: Annotated[
        int,
        Meta(
            description="Time to live of a register's or cache's client session (ms).", ge=100, le=3_600_000
        ),
    ] = 60_000
    lock_ttl_ms: Annotated[
        int, Meta(description="Time to live of a lock without renewal (ms).", ge=100, le=3_600_000)
    ] = 3_000
    attempt_timeout_ms: Annotated[
        int, Meta(description="How long a client waits for one node before it tries the next (ms).", ge=1)
    ] = 1_000


def chosen_knobs(options: ReferenceOptions, knobs: Any) -> dict[str, Any]:
    """The knobs of the class ``knobs`` that the user set."""
    given = {name: getattr(options, name, None) for name in knobs._fields}
    return {name: value for name, value in given.items() if value is not None}
