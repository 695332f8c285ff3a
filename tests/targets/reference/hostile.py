"""What a peer of whichever protocol may send that is no word of it, and what such words are made of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NUMBERS = st.integers(0, 12) | st.sampled_from([2**40, 2**53 - 1])
FLAGS = st.booleans()
NAMES = st.sampled_from(["n1", "n2", "n3", "n4", "nobody"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def tagged(*tags: str) -> st.SearchStrategy[list[Any]]:
    """Lists that begin as the messages with these tags do, and go on with anything."""
    rest = st.lists(NUMBERS | JSON, max_size=8)
    return st.builds(lambda tag, rest: [tag, *rest], st.sampled_from(tags), rest)
