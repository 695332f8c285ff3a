"""The register service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.services.base import same
from foreshock.targets.reference.node.services.register import Registers


def test_a_key_reads_what_was_written_last_and_null_before() -> None:
    registers = Registers()
    assert registers.read("x") == {"type": "read_ok", "value": None}
    registers.apply(None, ["write", "x", 1])
    registers.apply(None, ["write", "x", [2]])
    assert registers.read("x")["value"] == [2]
    assert registers.read("y")["value"] is None


def test_the_key_1_and_the_key_one_as_text_are_two_keys_also_after_a_snapshot() -> None:
    registers = Registers()
    registers.apply(None, ["write", 1, "number"])
    registers.apply(None, ["write", "1", "text"])
    copy = Registers()
    copy.restore(json.loads(json.dumps(registers.snapshot())))
    assert (copy.read(1)["value"], copy.read("1")["value"]) == ("number", "text")


def test_compare_and_set_changes_the_value_only_when_it_is_the_one_expected() -> None:
    registers = Registers()
    assert registers.apply(None, ["cas", "x", 1, 2])["code"] == codes.KEY_DOES_NOT_EXIST
    assert registers.apply(None, ["cas", "x", None, 1]) == {"type": "cas_ok"}
    assert registers.apply(None, ["cas", "x", 2, 3])["code"] == codes.PRECONDITION_FAILED
    assert registers.read("x")["value"] == 1
    assert registers.apply(None, ["cas", "x", 1, 2]) == {"type": "cas_ok"}
    assert registers.read("x")["value"] == 2


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1, True),
        (1, True, False),
        (0, False, False),
        (None, None, True),
        (None, 0, False),
        ("1", 1, False),
        ([1], [True], False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ([1, 2], [2, 1], False),
        ({}, [], False),
    ],
)
def test_values_are_compared_as_json_and_not_as_python(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal
