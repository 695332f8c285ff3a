"""The lines of keys and values: for hand-written TOML of every shape, and for any document that tomllib takes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.toml_lines import Place, lines_of

EVERY_SHAPE = '''\
a = 1  # a comment with = [ and "
"b.c" = """
x = 1
"""
d = """ \\
[no.table]"""
[t]  # [[not]]
e.f = [1,
  2, # [
  {g = "]", h = [3]},
]
"i \\"j" = 1
[[u]]
x = 1979-05-27T07:32:00Z
[[u]]
  [u.v]
  y = "it's"
  [[u.w]]
  z = { p.q = 1, r = "a, b" }
  [[u.w]]
[ k . "l" ]
m = "\\\\"
'n' = 0x1f
'''
EXPECTED = {
    ("a",): 1,
    ("b.c",): 2,
    ("d",): 5,
    ("t",): 7,
    ("t", "e"): 8,
    ("t", "e", "f"): 8,
    ("t", "e", "f", 0): 8,
    ("t", "e", "f", 1): 9,
    ("t", "e", "f", 2): 10,
    ("t", "e", "f", 2, "g"): 10,
    ("t", "e", "f", 2, "h"): 10,
    ("t", "e", "f", 2, "h", 0): 10,
    ("t", 'i "j'): 12,
    ("u",): 13,
    ("u", 0): 13,
    ("u", 0, "x"): 14,
    ("u", 1): 15,
    ("u", 1, "v"): 16,
    ("u", 1, "v", "y"): 17,
    ("u", 1, "w"): 18,
    ("u", 1, "w", 0): 18,
    ("u", 1, "w", 0, "z"): 19,
    ("u", 1, "w", 0, "z", "p"): 19,
    ("u", 1, "w", 0, "z", "p", "q"): 19,
    ("u", 1, "w", 0, "z", "r"): 19,
    ("u", 1, "w", 1): 20,
    ("k",): 21,
    ("k", "l"): 21,
    ("k", "l", "m"): 22,
    ("k", "l", "n"): 23,
}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The ways to everything in a document."""
    if place:
        yield place
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*place, number))


def test_every_shape() -> None:
    assert set(places(tomllib.loads(EVERY_SHAPE))) == set(EXPECTED)
    assert dict(lines_of(EVERY_SHAPE)) == EXPECTED


def test_a_key_of_very_many_parts_takes_no_time_and_its_table_has_its_line() -> None:
    found = lines_of("first = 1\n[" + "a." * 50_000 + "b]\nlast = 1\n")
    assert len(found) < 100
    assert found["a", "a"] == 2


def test_line_breaks_of_windows() -> None:
    assert dict(lines_of(EVERY_SHAPE.replace("\n", "\r\n"))) == EXPECTED


keys = st.one_of(st.sampled_from(["a", "b-c", "d_e", "1"]), st.text("ab.\"'# =[]{}é", min_size=1, max_size=4))
scalars = st.one_of(
    st.integers(-9, 9), st.booleans(), st.floats(0, 1), st.text("a\"'\\#[]{}=,\n", max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def written(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def folded(value: Any) -> str:
    """The same over several lines, where that is allowed."""
    if isinstance(value, list):
        return "[  # [\n" + "".join(f"  {written(inner)},\n" for inner in value) + "]"
    return written(value)


@given(st.dictionaries(keys, values, min_size=1, max_size=4), st.dictionaries(keys, values, max_size=4))
@settings(max_examples=300, deadline=None)
def test_everything_in_a_document_has_its_line(top: dict[str, Any], below: dict[str, Any]) -> None:
    lines: list[str] = []
    begins: dict[Place, int] = {}
    for key, value in top.items():
        begins[key,] = len(lines) + 1
        lines += f"{json.dumps(key)} = {folded(value)}".split("\n")
    lines.append("[[below.'the.table']]")
    for key, value in below.items():
        begins["below", "the.table", 0, key] = len(lines) + 1
        lines += f"{json.dumps(key)} = {folded(value)}".split("\n")
    text = "\n".join(lines)
    if "below" in top:
        return
    found = lines_of(text)
    assert set(found) == set(places(tomllib.loads(text)))
    for place, line in begins.items():
        assert found[place] == line
