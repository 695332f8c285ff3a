"""Which search decides a key: the one in plain Python, or the compiled one, which has to be loaded first.

To load the compiled search costs as much as to decide some thousand operations without it, and it has to be compiled
once for each installation. So it is loaded when that many have been searched, or are about to be; from then on it
decides everything.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.deepest_by_parts import deepest_by_parts
from foreshock.checkers.models.base import Specializes
from foreshock.checkers.search import Deepest, Limits, Search, SearchResult
from foreshock.harness.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from foreshock.checkers.entries import Entry
    from foreshock.checkers.kernel_search import Prepared

WORTH_LOADING: Final = 3_000
"""So many operations to search are worth loading the compiled search for."""
PLAIN_CONFIGURATIONS_MAX: Final = 20_000
"""So many configurations in one check are enough for the search in plain Python."""
_COMPILING_S: Final = 30.0
"""With less time than this to the deadline nothing is compiled."""
_COMPILING_S_MAX: Final = 300.0

logger = logging.getLogger("foreshock")


class Searching(Protocol):
    """One search under way, of either kind."""

    @property
    def returns(self) -> int:
        """How many operations have to be put into an order."""

    @property
    def configurations(self) -> int:
        """How many configurations were entered."""

    @property
    def bytes_used(self) -> int:
        """The memory that it holds by now."""

    @property
    def progress(self) -> str:
        """How far it has got, in words."""

    def run(self, limits: Limits, configurations_max: int | None = None) -> SearchResult | None:
        """Search on until decided or a limit is reached; ``None`` after so many more configurations."""


class _Compiled:
    """Whether the compiled search is there, and how much was searched without it."""

    def __init__(self) -> None:
        self.is_loaded = False
        self.is_missing = False
        """It cannot be loaded here, or there was no time to compile it: that was said, and is not tried again."""
        self.searched = 0
        self.announced = 0
        self.waited_s = 0.0


_compiled = _Compiled()


def is_compiled() -> bool:
    """Whether the compiled search is loaded."""
    return _compiled.is_loaded


def announce(operations: int) -> None:
    """Say that about so many operations are still to come, in this and other histories, searched or not."""
    _compiled.announced = operations


def expect(operations: int, deadline_ns: int | None = None) -> None:
    """Say that so many operations are about to be searched: loads the compiled search where that pays.

    Where many more were announced, the first that have to be searched say that most of those will, too.
    """
    if _compiled.is_loaded or _compiled.is_missing or not operations:
        return
    if _compiled.searched + max(operations, _compiled.announced) > WORTH_LOADING:
        load(deadline_ns)


def waited_s() -> float:
    """For how long anybody has waited for the compiled search to be loaded, in all (s)."""
    return _compiled.waited_s


def load(deadline_ns: int | None = None) -> bool:
    """Load the compiled search, having it compiled where that was never done. Whether it is there then.

    To compile takes some ten seconds, once for each installation, so it is only done where the deadline (on
    ``time.monotonic_ns()``) is far off. Where it is not there the plain search goes on, slower.
    """
    if _compiled.is_loaded or _compiled.is_missing:
        return _compiled.is_loaded
    started = time.monotonic()
    try:
        if not _is_on_disk():
            _compile(deadline_ns)
        from foreshock.checkers.kernel_search import KernelSearch

        KernelSearch.warm_up()
        _compiled.is_loaded = True
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        _compiled.is_missing = True
        logger.warning("searching without the compiled search, which is slower: %s", error)
    _compiled.waited_s += time.monotonic() - started
    return _compiled.is_loaded


def _is_on_disk() -> bool:
    """Whether the kernels were compiled before."""
    from foreshock.checkers.kernels.compiling import is_on_disk
    from foreshock.checkers.kernels.search_kernel import search_on

    return is_on_disk(search_on)


def _compile(deadline_ns: int | None) -> None:
    """Have the kernels compiled by a process of its own, which can be ended; raises ``SubprocessError`` if it was."""
    rest_s = _COMPILING_S_MAX if deadline_ns is None else (deadline_ns - time.monotonic_ns()) / 1e9
    if rest_s < _COMPILING_S:
        raise subprocess.SubprocessError(
            f"it is not compiled yet, and there is no time for that before the deadline (a deadline above "
            f"{_COMPILING_S:.0f} s leaves some, once for this installation)"
        )
    logger.warning("compiling the checker, once for this installation; it takes some ten seconds")
    program = "from foreshock.checkers.kernel_search import KernelSearch; KernelSearch.warm_up()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL) as process:
        try:
            code = process.wait(min(rest_s, _COMPILING_S_MAX))
        except BaseException:
            process.kill()
            raise
    if code != 0:
        raise subprocess.SubprocessError(f"it could not be compiled (exit code {code})")


def searches_of(
    columns: OperationColumns, keys: Sequence[int], model: Model, limits: Limits
) -> Callable[[int], Searching]:
    """What makes the search of each of these keys, when it is its turn."""
    expect(sum(len(columns.rows_by_key[key]) for key in keys), limits.deadline_ns)
    prepared: dict[int, tuple[Prepared, int]] = {}

    def start(key: int) -> Searching:
        rows = columns.rows_by_key[key]
        if not _compiled.is_loaded:
            _compiled.searched += len(rows)
            return Search(columns.entries(rows), model)
        from foreshock.checkers.encoding import encode_keys, takes_many
        from foreshock.checkers.kernel_search import KernelSearch, Prepared

        if key not in prepared:
            together = keys if takes_many(model) else [key]
            made = Prepared(encode_keys(columns, together, model))
            prepared.update((each, (made, place)) for place, each in enumerate(together))
        return KernelSearch(*prepared[key] if takes_many(model) else prepared.pop(key))

    return start


def search_of_entries(entries: Sequence[Entry], model: Model, limits: Limits) -> Searching:
    """A search of these operations."""
    expect(len(entries), limits.deadline_ns)
    if _compiled.is_loaded:
        from foreshock.checkers.encoding import encode_entries
        from foreshock.checkers.kernel_search import KernelSearch, Prepared

        return KernelSearch(Prepared(encode_entries(entries, model)))
    _compiled.searched += len(entries)
    return Search(entries, model)


def decide(
    entries: Sequence[Entry], model: Model, limits: Limits, configurations_max: int | None = None
) -> SearchResult | None:
    """Decide one history of one key; ``None`` where it takes more than so many configurations."""
    return search_of_entries(entries, model, limits).run(limits, configurations_max)


def deepest_of(
    entries: Sequence[Entry], model: Model, limits: Limits, configurations_max: int | None
) -> Deepest | None:
    """Where every order of an illegal history ends; ``None`` where that cannot be found out within the limits."""
    if isinstance(model, Specializes):
        return deepest_by_parts(
            entries, model, limits, lambda part, of: decide(part, of, limits, configurations_max)
        )
    expect(len(entries), limits.deadline_ns)
    if not _compiled.is_loaded:
        _compiled.searched += len(entries)
        result = Search(entries, model).run(limits, configurations_max)
        return None if result is None else result.deepest
    from foreshock.checkers.encoding import encode_entries
    from foreshock.checkers.first_impossible import deepest_of as deepest_of_encoded
    from foreshock.checkers.kernel_search import KernelSearch, Prepared

    encoded = encode_entries(entries, model)
    if encoded.by_value:
        return deepest_of_encoded(encoded, limits, configurations_max)
    found = KernelSearch(Prepared(encoded)).run(limits, configurations_max)
    return None if found is None else found.deepest
