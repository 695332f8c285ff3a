"""Polynomial special cases: tried first, and named in the answer. What none of them takes is searched."""

from __future__ import annotations

from typing import Any

from foreshock.checkers.fast_paths.base import FastPath, Finding
from foreshock.checkers.fast_paths.clusters import CLUSTERS
from foreshock.checkers.fast_paths.zones import ZONES
from foreshock.checkers.models.register import CasRegister, Register

_OF_MODEL: dict[type[Any], tuple[FastPath, ...]] = {
    Register: (ZONES,),
    CasRegister: (ZONES, CLUSTERS),
}
"""By the exact class: a subclass may mean something else."""


def fast_paths_of(model: object) -> tuple[FastPath, ...]:
    """The fast paths for a model, in the order in which to try them. All assume the model's usual initial state."""
    return _OF_MODEL.get(type(model), ())


__all__ = ["FastPath", "Finding", "fast_paths_of"]
