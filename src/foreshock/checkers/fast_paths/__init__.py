"""Polynomial special cases: tried first, and named in the answer. What none of them takes is searched."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.fast_paths.base import FastPath, Finding
from foreshock.checkers.kernels.layout import READ, SWAP
from foreshock.checkers.models.register import CasRegister, Register

_MODELS: Final = "foreshock.checkers.models."
_OF_MODEL: Final[dict[str, tuple[str, ...]]] = {
    "register.Register": ("zones.ZONES",),
    "register.CasRegister": ("zones.ZONES", "clusters.CLUSTERS"),
    "kv.Kv": ("appends.APPENDS",),
    "lock.Mutex": ("holds.HOLDS",),
    "lock.OwnerMutex": ("owned.OWNED",),
    "lock.FencedMutex": ("fenced.FENCED",),
    "shared_locks.ReentrantMutex": ("owned.REENTRANT",),
    "shared_locks.ReadWriteLock": ("owned.READ_WRITE",),
    "shared_locks.Semaphore": ("holds.semaphore_path",),
    "queues.FifoQueue": ("queues.QUEUE",),
    "queues.Stack": ("stacks.STACK",),
    "sets.SetModel": ("sets.ELEMENTS",),
    "counter.Counter": ("counters.COUNTS",),
}
"""By the exact class: a subclass may mean something else. Only what a model needs is imported."""
LOOKED_THROUGH_MAX: Final = 5_000
"""Up to so many operations it is cheaper to look for repeated values one by one than to let a fast path find out."""


def fast_paths_of(model: object) -> tuple[FastPath, ...]:
    """The fast paths for a model, in the order in which to try them. All assume the model's usual initial state."""
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    if not name.startswith(_MODELS):
        return ()
    return tuple(_path(place, model) for place in _OF_MODEL.get(name.removeprefix(_MODELS), ()))


def worth_trying(model: object, columns: OperationColumns) -> list[int]:
    """The keys to try the fast paths on: all, but for those of a small register history whose values plainly repeat."""
    keys = range(len(columns.keys))
    if type(model) not in (Register, CasRegister) or len(columns) > LOOKED_THROUGH_MAX:
        return list(keys)
    code, first, second = columns.as_registers
    written = np.where(code == SWAP, second, first)
    writing = np.flatnonzero(code > READ)
    values = written[writing].tolist()
    if len(keys) == 1:
        return [0] if len(set(values)) == len(values) else []
    seen: set[tuple[int, int]] = set()
    repeating = set()
    for write in zip(columns.key[writing].tolist(), values, strict=True):
        if write in seen:
            repeating.add(write[0])
        seen.add(write)
    return [key for key in keys if key not in repeating]


def _path(place: str, model: object) -> FastPath:
    """The fast path at ``module.NAME``; where that is a function, it makes one for the model."""
    module, name = place.split(".")
    found: Any = getattr(import_module(f"{__name__}.{module}"), name)
    path: FastPath = found if isinstance(found, FastPath) else found(model)
    return path


__all__ = ["LOOKED_THROUGH_MAX", "FastPath", "Finding", "fast_paths_of", "worth_trying"]
