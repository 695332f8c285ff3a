"""Keys are placed evenly, and only about one in n of them moves when one of n nodes comes or goes."""

from __future__ import annotations

import pytest

from foreshock.targets.caches.ring import Ring, RingSource

KEYS = [*range(10_000), *(f"key-{number}" for number in range(10_000))]
NAMES = [f"n{number}" for number in range(2, 12)]


def moved(before: Ring, after: Ring) -> list[tuple[str, str]]:
    """From where to where keys have moved."""
    pairs = ((before.owners(key)[0], after.owners(key)[0]) for key in KEYS)
    return [pair for pair in pairs if pair[0] != pair[1]]


def test_a_node_that_joins_takes_over_its_share_and_no_other_key_moves() -> None:
    before = Ring(NAMES)
    moves = moved(before, before.joined_by("n12"))
    assert {to for _, to in moves} == {"n12"}
    assert {origin for origin, _ in moves} == set(NAMES)
    assert 0.7 / 11 < len(moves) / len(KEYS) < 1.3 / 11


def test_a_node_that_leaves_gives_its_share_to_all_others() -> None:
    before = Ring(NAMES)
    moves = moved(before, before.left_by("n5"))
    assert {origin for origin, _ in moves} == {"n5"}
    assert {to for _, to in moves} == set(NAMES) - {"n5"}
    assert 0.7 / 10 < len(moves) / len(KEYS) < 1.3 / 10


def test_no_node_has_much_more_than_its_share() -> None:
    ring = Ring(NAMES)
    owners = [ring.owners(key)[0] for key in KEYS]
    shares = [owners.count(name) / len(KEYS) for name in NAMES]
    assert max(shares) < 1.35 / len(NAMES)
    assert min(shares) > 0.65 / len(NAMES)


def test_owners_are_different_and_the_same_on_every_machine() -> None:
    ring = Ring(["n4", "n2", "n3"])
    assert ring.owners(7, 5) == [*dict.fromkeys(ring.owners(7, 5))]
    assert set(ring.owners(7, 5)) == {"n2", "n3", "n4"}
    assert [Ring(["n2", "n3", "n4"]).owners(key) for key in (0, 1, 2, "1", "x")] == [
        ring.owners(key) for key in (0, 1, 2, "1", "x")
    ]
    assert [ring.owners(key)[0] for key in (0, 1, 2, 3, "1", "x")] == GOLDEN
    assert Ring([]).owners(7) == []


GOLDEN = ["n4", "n3", "n4", "n4", "n4", "n2"]


@pytest.mark.parametrize("node", ["n2", "n9"])
def test_to_join_or_leave_twice_changes_nothing(node: str) -> None:
    source = RingSource(["n2", "n3"])
    source.join(node)
    joined = source.ring
    source.join(node)
    assert source.ring is joined
    source.leave(node)
    left = source.ring
    source.leave(node)
    assert source.ring is left
    assert node not in left.nodes
