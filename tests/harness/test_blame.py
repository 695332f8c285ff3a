"""An exception as a sentence that says where to look."""

from __future__ import annotations

import json

import pytest

from foreshock.harness.blame import describe
from foreshock.harness.errors import UsageError
from foreshock.harness.sizes import parse_bytes


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_the_place_is_where_the_plug_in_was() -> None:
    assert describe(raised(ValueError("no\npassword"))).startswith(
        "ValueError: no password (test_blame.py, line "
    )
    assert describe(raised(ValueError("\x1b[31mred\0\u202e"))).startswith(
        r"ValueError: \x1b[31mred\x00\u202e ("
    )
    assert describe(raised(ValueError())).startswith("ValueError (test_blame.py, line ")


def test_neither_a_library_nor_the_kernel_is_blamed() -> None:
    with pytest.raises(ValueError, match="Expecting value") as library:
        json.loads("nonsense")
    assert "(test_blame.py, line " in describe(library.value)
    with pytest.raises(UsageError) as kernel:
        parse_bytes("much")
    assert "(test_blame.py, line " in describe(kernel.value)


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert describe(KeyError("value")) == "KeyError: 'value'"
