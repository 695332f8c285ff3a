"""Foreshock: a chaos-testing harness for distributed systems.

It deploys a cluster, drives a workload while nemeses break things, records the history, and proves
whether that history was linearizable. The vocabulary lives in :mod:`foreshock.harness`.

What was stored is had as pandas DataFrames by :func:`load` (tests), :func:`load_history` (operations) and
:func:`load_faults`; they are imported when they are first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as that of typing, which takes its time to import
if TYPE_CHECKING:
    from foreshock.harness.loading import load, load_faults, load_history

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_faults", "load_history"]


def __getattr__(name: str) -> object:
    if name in ("load", "load_faults", "load_history"):
        from foreshock.harness import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
