"""What the command line makes of the parameters of a constructor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from foreshock.harness.constructor_options import made, options_of


class Takes:
    """Parameters of every kind that is written in one."""

    def __init__(
        self,
        names: str | Sequence[str] = "",
        perhaps: Sequence[str] | None = None,
        either: str | tuple[str, ...] | None = None,
        number: int | float = 0,
        text: str | None = None,
        any_of: bool | int | None = None,
        table: Mapping[str, int] | None = None,
        odd: type | None = None,
    ) -> None: ...


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("names", "a, b", ("a", "b")),
        ("names", "a", ("a",)),
        ("names", "", ()),
        ("perhaps", "a,b", ("a", "b")),
        ("either", "a,b", ("a", "b")),
        ("number", "3", 3),
        ("number", "2.5", 2.5),
        ("text", "a,b", "a,b"),
        ("any_of", "true", True),
        ("any_of", "12", 12),
        ("table", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_is_read_as_what_the_parameter_takes(name: str, text: str, value: Any) -> None:
    (arguments,) = made({name: text}, ("it", options_of(Takes)))
    assert arguments == {name: value}
    assert type(arguments[name]) is type(value)


def test_what_no_text_can_stand_for_is_no_option() -> None:
    assert "odd" not in options_of(Takes).__struct_fields__
