"""The contract of a checker: a history in, a verdict with its reasons out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from foreshock.harness.verdict import Verdict

if TYPE_CHECKING:
    from foreshock.harness.history import History


class CheckContext(msgspec.Struct, frozen=True):
    """What a checker may know beside the history.

    ``deadline_ns`` is on ``time.monotonic_ns()``; a checker that passes it answers ``unknown`` with how far it
    got. ``should_stop`` is asked now and then and turns true on Ctrl-C. ``faults`` are the ledger's records.
    Where it ``explains`` is off, nobody will look at the counterexamples: the reason is all that is wanted.
    """

    deadline_ns: int
    memory_limit_bytes: int
    should_stop: Callable[[], bool] = lambda: False
    nodes: tuple[str, ...] = ()
    faults: tuple[Mapping[str, Any], ...] = ()
    seed: int = 0
    explains: bool = True


class Counterexample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a history (of one key) is illegal, as data that a report can draw.

    Operations are given by their ``invoke_index``. ``core`` is minimal: no operation can be left out.
    ``impossible`` is the first operation at which no linearization survives; ``states`` are those possible just
    before it; ``needed`` says for each pending operation what it would have needed; ``prefix`` is the longest
    legal order found. ``argument`` says in sentences why no order is legal; where that is a short proof, ``proof``
    names its kind and ``drawn`` the operations that it speaks of, which are all that is worth drawing.
    """

    key: int | str | None
    reason: str
    core: tuple[int, ...]
    impossible: int | None = None
    states: tuple[str, ...] = ()
    needed: Mapping[str, str] = {}
    prefix: tuple[int, ...] = ()
    earlier: int = 0
    source: int | None = None
    argument: tuple[str, ...] = ()
    proof: str = ""
    drawn: tuple[int, ...] = ()
    undecided: int = 0
    operations: tuple[Mapping[str, Any], ...] = ()
    """The rows of every operation named above (``invoke_index``, ``complete_index``, ``invoke_ns``,
    ``complete_ns``, ``process``, ``node``, ``f``, ``value``, ``result``, ``type``, ``label``)."""


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one checker found. ``reason`` is one sentence, also when the verdict is valid."""

    verdict: Verdict
    reason: str
    method: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = {}
    counterexamples: tuple[Counterexample, ...] = ()


class Checker(ABC):
    """Judges a finished history. Pure: no side effects, no clock but the deadline."""

    name: str
    """Its name, in a word."""

    judges_the_end: ClassVar[bool] = False
    """Whether it judges how the test ended: it is then left out for a test that was cut short before its end."""

    @abstractmethod
    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide. An exception is a harness error and never a verdict."""
