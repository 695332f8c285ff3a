"""The target: every knob is an option, what is drawn works together, and what it claims of itself holds together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from foreshock.harness.errors import UsageError
from foreshock.harness.exhibit import Exhibit
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.randomness import RandomStream
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.reference.node.paxos import Paxos as Replica
from foreshock.targets.reference.node.paxos import PaxosKnobs, decode, encode
from foreshock.targets.reference.node.programs import load_program
from foreshock.targets.reference.paxos_exhibits import EXHIBITS, PROMISES
from foreshock.targets.reference.paxos_options import PaxosOptions, draw_paxos_knobs
from foreshock.targets.reference.paxos_target import Paxos


def test_every_knob_is_an_option() -> None:
    options = {field.name for field in msgspec.structs.fields(PaxosOptions)}
    assert set(PaxosKnobs._fields) <= options


def test_drawn_knobs_work_together_and_differ_from_seed_to_seed() -> None:
    drawn = [draw_paxos_knobs(RandomStream(seed, "knobs")).checked() for seed in range(200)]
    assert len(set(drawn)) == 200
    assert {knobs.window_slots for knobs in drawn} >= {4, 512}


def test_what_the_user_sets_is_not_drawn() -> None:
    chosen = Paxos(PaxosOptions(window_slots=7, heartbeat_ms=50), seed=3)
    knobs = chosen.draw_knobs(RandomStream(3, "knobs"))
    assert (knobs.window_slots, knobs.heartbeat_ms) == (7, 50)
    assert knobs.election_timeout_min_ms == PaxosKnobs().election_timeout_min_ms
    with pytest.raises(UsageError, match="target paxos: heartbeat_ms"):
        Paxos(PaxosOptions(heartbeat_ms=500), seed=3)


def test_a_node_can_run_it() -> None:
    kind = load_program("paxos")
    assert (kind.knobs, kind.encode, kind.decode) == (PaxosKnobs, encode, decode)


def test_every_planted_bug_is_an_exhibit_and_the_other_way_round() -> None:
    registered = {name for name in names(Kind.BUGS) if name.startswith("paxos/")}
    assert {exhibit.name for exhibit in EXHIBITS} == registered
    for exhibit in EXHIBITS:
        assert exhibit.request.bug == exhibit.name
        assert issubclass(load(Kind.BUGS, exhibit.name), Replica)
        assert Paxos.takes_bug(exhibit.name, load(Kind.BUGS, exhibit.name))


def test_it_promises_every_workload() -> None:
    assert {promise.workload for promise in PROMISES} == {"register", "lock", "cache"}
    assert Paxos.promises[: len(PROMISES)] == PROMISES


def verdict(exhibit: Exhibit, seed: int, store: Path, *, bug: str | None) -> str:
    request = msgspec.structs.replace(exhibit.request, backend="sim", seed=seed, bug=bug)
    return run_test(resolve(request), Store(store), SilentProgress(), report=False).judgement.verdict


@pytest.mark.parametrize("exhibit", EXHIBITS[:2], ids=lambda exhibit: exhibit.name)
def test_what_shows_a_bug_shows_nothing_wrong_without_it(exhibit: Exhibit, tmp_path: Path) -> None:
    assert verdict(exhibit, 0, tmp_path, bug=None) == "valid"
    assert any(verdict(exhibit, seed, tmp_path, bug=exhibit.name) == "invalid" for seed in range(5))
