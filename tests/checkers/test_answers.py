from __future__ import annotations

from typing import Any

import pytest
from tests.checkers.random_histories import limits

from foreshock.checkers.encoding import encode_entries
from foreshock.checkers.entries import Entry
from foreshock.checkers.kernel_search import KernelSearch, Prepared
from foreshock.checkers.search import search
from foreshock.harness.errors import PlugInError
from foreshock.harness.model import ILLEGAL


class Take:
    """A box whose content is taken out by what is said only to read."""

    name = "take"

    def initial(self) -> Any:
        return 1

    def is_read(self, f: str) -> bool:
        return f == "take"

    def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
        return None if state == result else ILLEGAL

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f


class Listing(Take):
    def initial(self) -> Any:
        return [1]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_read_that_changes_the_state_is_the_models_mistake_and_convicts_nobody(compiled: bool) -> None:
    history = [Entry(0, 0, 1, "take", None, 1, False, 0), Entry(1, 2, 3, "take", None, None, False, 0)]

    def decide() -> object:
        if not compiled:
            return search(history, Take(), limits())
        return KernelSearch(Prepared(encode_entries(history, Take()))).run(limits())

    with pytest.raises(
        PlugInError, match=r"'take' only reads, but its step\(\) changed the state from 1 to None"
    ):
        decide()


def test_a_state_that_cannot_be_hashed_is_named() -> None:
    with pytest.raises(PlugInError, match=r"returned the state \[1\], which cannot be hashed"):
        search([Entry(0, 0, 1, "take", None, 1, False, 0)], Listing(), limits())
