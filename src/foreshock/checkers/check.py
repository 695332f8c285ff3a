"""One call that decides a history against a model, given by name, by class or as an object."""

from __future__ import annotations

from typing import Any

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.checker import CheckContext, CheckResult
from foreshock.harness.history import History
from foreshock.harness.model import Model


def check(history: History, model: Model | type[Any] | str, context: CheckContext) -> CheckResult:
    """Decide whether a history is linearizable.

    ``model`` is the name of a registered model (or ``file.py:Class``), a class, or an object that keeps the
    protocol of :class:`foreshock.harness.model.Model`. Raises :class:`~foreshock.harness.errors.UsageError` when it
    is none of these, or does not know an operation of the history.
    """
    return LinearizableChecker(model).check(history, context)
