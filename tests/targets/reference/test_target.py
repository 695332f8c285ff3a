"""The raft target: its options, its command line, its knobs."""

from __future__ import annotations

import pytest

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import UsageError
from foreshock.harness.options import parse_options
from foreshock.harness.randomness import RandomStream
from foreshock.harness.services import CacheClient, LockClient, RegisterClient
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.target import ClientContext
from foreshock.targets.reference.client import ReferenceClient
from foreshock.targets.reference.consensus_options import ConsensusOptions
from foreshock.targets.reference.node.__main__ import _configuration, _parser
from foreshock.targets.reference.node.configuration import bug_name, load_bug
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.paxos import PaxosKnobs
from foreshock.targets.reference.node.raft import RaftKnobs
from foreshock.targets.reference.node.zab import ZabKnobs
from foreshock.targets.reference.options import ReferenceOptions, chosen_knobs
from foreshock.targets.reference.raft_options import RaftOptions
from foreshock.targets.reference.raft_target import Raft

NODE = Node(
    name="n2",
    index=1,
    endpoint=Endpoint("10.0.0.2", 7000),
    listen=Endpoint("0.0.0.0", 7000),
    peers={"n3": Endpoint("10.0.0.3", 7000), "n1": Endpoint("10.0.0.1", 7000)},
    data_directory="/data/n2",
    cluster="run-1",
)
BUGS = (
    "vote-not-persisted",
    "votes-for-shorter-log",
    "commits-old-term-by-counting",
    "stale-leader-reads",
    "replies-before-fsync",
    "applies-retry-twice",
)


def test_every_knob_of_the_node_is_an_option_of_the_target() -> None:
    assert {*RaftKnobs._fields, *NodeKnobs._fields} <= set(RaftOptions.__struct_fields__)


def test_a_knob_that_all_protocols_have_has_one_default_and_is_an_option_of_all() -> None:
    shared = set(ConsensusOptions.__struct_fields__) - set(ReferenceOptions.__struct_fields__)
    assert shared
    for knobs in (PaxosKnobs, ZabKnobs):
        assert {name: knobs._field_defaults[name] for name in shared} == {
            name: RaftKnobs._field_defaults[name] for name in shared
        }


def test_the_command_is_understood_by_the_node_as_it_was_meant() -> None:
    target = Raft(
        parse_options(RaftOptions, {"heartbeat_ms": "40", "prevote": "false"}, owner="raft"), seed=1
    )
    target.bug = load_bug("raft/applies-retry-twice")
    python, program, *arguments = target.command(NODE)
    assert (python, program) == ("python3", "/data/n2/../files/node.pyz")
    given = _parser().parse_args(arguments)
    configuration = _configuration(given, ("n1", "n3"))
    assert configuration.name == "n2"
    assert configuration.members == ("n1", "n2", "n3")
    assert configuration.cluster == "run-1"
    assert configuration.bug == "raft/applies-retry-twice"
    assert configuration.program_knobs == RaftKnobs()._replace(heartbeat_ms=40, prevote=False)
    assert given.peer == ["n1=10.0.0.1:7000", "n3=10.0.0.3:7000"]


def test_it_has_a_client_for_each_service_of_the_harness() -> None:
    target = Raft(RaftOptions(lock_ttl_ms=700, session_ttl_ms=9_000), seed=1)
    context = ClientContext(SimRuntime(1), NODE, (NODE,), 0, "c", 1_000)
    assert isinstance(target.client("register", context), RegisterClient)
    assert isinstance(target.client("cache", context), CacheClient)
    locks = target.client("lock", context)
    assert isinstance(locks, LockClient)
    assert isinstance(locks, ReferenceClient)
    assert locks.settings.session_ttl_ms == 700


@pytest.mark.parametrize("name", BUGS)
def test_each_planted_bug_is_found_by_its_name_and_named_by_its_class(name: str) -> None:
    bug = load_bug(f"raft/{name}")
    assert bug_name(bug) == f"raft/{name}"
    assert bug.__doc__


def test_knobs_that_cannot_work_are_refused_before_anything_is_deployed() -> None:
    with pytest.raises(UsageError, match="target raft: heartbeat_ms"):
        Raft(RaftOptions(heartbeat_ms=5_000), seed=1)


def test_drawn_knobs_always_work_whatever_the_user_chose() -> None:
    choices: tuple[RaftOptions, ...] = (
        RaftOptions(),
        RaftOptions(election_timeout_min_ms=590),
        RaftOptions(election_timeout_max_ms=301),
        RaftOptions(heartbeat_ms=150),
        RaftOptions(heartbeat_ms=1),
        RaftOptions(election_timeout_min_ms=30, heartbeat_ms=10, election_timeout_max_ms=31),
        RaftOptions(election_timeout_min_ms=2_000, election_timeout_max_ms=4_000),
    )
    for seed in range(300):
        for options in choices:
            chosen = chosen_knobs(options, RaftKnobs)
            drawn = Raft(options, seed=seed).draw_knobs(RandomStream(seed, "knobs")).checked()
            assert {name: getattr(drawn, name) for name in chosen} == chosen


def test_one_seed_draws_the_same_knobs_and_others_draw_others() -> None:
    assert Raft(RaftOptions(), seed=5)._drawn == Raft(RaftOptions(), seed=5)._drawn
    assert len({Raft(RaftOptions(), seed=seed)._drawn for seed in range(20)}) > 15
