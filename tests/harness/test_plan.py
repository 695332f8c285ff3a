from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
import pytest

from foreshock.harness import plan as planning
from foreshock.harness.composition import nemeses_of
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.options import Options, parse_options
from foreshock.harness.plan import Request, resolve
from foreshock.harness.sizes import parse_bytes
from foreshock.harness.target import Target


class SomeOptions(Options, frozen=True, kw_only=True):
    heartbeat_ms: Annotated[int, msgspec.Meta(ge=1, description="how often")] = 50
    fencing: bool = True


def test_a_typo_in_an_option_names_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"raft has no option 'hartbeat_ms' \(did you mean 'heartbeat_ms'\?\)"
    ):
        parse_options(SomeOptions, {"hartbeat_ms": "3"}, owner="raft")


def test_options_are_read_as_their_type_and_bounds_hold() -> None:
    assert parse_options(SomeOptions, {"heartbeat_ms": "20", "fencing": "false"}, owner="x") == SomeOptions(
        heartbeat_ms=20, fencing=False
    )
    for given, said in (
        ({"heartbeat_ms": "0"}, "x: the option 'heartbeat_ms' cannot be '0': expected a whole number >= 1"),
        ({"heartbeat_ms": "soon"}, "x: the option 'heartbeat_ms' cannot be 'soon': expected a whole number"),
        ({"fencing": 3}, "x: the option 'fencing' cannot be 3: expected true or false"),
    ):
        with pytest.raises(UsageError) as caught:
            parse_options(SomeOptions, given, owner="x")
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2 << 30), ("512MB", 512_000_000), ("1000", 1000), ("64 KiB", 65536)]
)
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "big", "1.5GiB", "-1", "2XB"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_bytes(text)


def test_none_and_nothing_mean_no_nemesis_and_twice_is_an_error() -> None:
    assert nemeses_of("none") == ()
    assert nemeses_of("") == ()
    assert nemeses_of("partition, kill") == ("partition", "kill")
    with pytest.raises(UsageError, match="named twice"):
        nemeses_of("kill,kill")


@pytest.mark.parametrize("text", [",", "kill,", ",kill", "kill,,pause", " , "])
def test_a_nemesis_without_a_name_is_an_error_that_shows_what_was_given(text: str) -> None:
    with pytest.raises(UsageError, match=f"'{text}' leaves a nemesis without a name"):
        nemeses_of(text)


def test_every_default_of_the_plan_is_visible() -> None:
    resolved = resolve(
        Request(target="raft", workload="register", nemesis="partition", backend="sim", seed=3)
    )
    plan = resolved.plan
    assert plan.nodes == ("n1", "n2", "n3", "n4", "n5")
    assert plan.concurrency == 10
    assert set(plan.options) == {"target", "workload", "partition"}
    for owner, cls in (("target", resolved.target_class), ("workload", resolved.workload_class)):
        assert set(plan.options[owner]) == set(cls.Options.__struct_fields__)


def test_a_seed_is_drawn_when_none_is_given_and_the_replay_command_names_it() -> None:
    resolved = resolve(Request(backend="sim", time_limit=12.5, options={"target.heartbeat_ms": 40}))
    assert f"--seed {resolved.plan.seed}" in resolved.command()
    assert "--time-limit 12.5" in resolved.command()
    assert "-o target.heartbeat_ms=40" in resolved.command()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request(target="rafft", backend="sim"), r"there is no target 'rafft' \(did you mean 'raft'"),
        (Request(workload="lok", backend="sim"), r"there is no workload 'lok' \(did you mean 'lock'\?\)"),
        (Request(nemesis="partitoin", backend="sim"), r"did you mean 'partition'\?"),
        (Request(backend="dokcer"), r"there is no backend 'dokcer' \(did you mean 'docker'"),
        (Request(bug="raft/vote", backend="sim"), r"there is no bug 'raft/vote' \(did you mean"),
        (Request(backend="sim", options={"nope": 1}), "there is no option 'nope' here"),
        (
            Request(backend="sim", options={"disk.kinds": "full"}),
            "'disk.kinds' is for the nemesis 'disk', which is no part of this test: leave it out, or add --nemesis",
        ),
        (Request(backend="sim", options={"ssh.hosts": "n1=a"}), "'ssh.hosts' is for the backend 'ssh'"),
        (Request(backend="sim", options={"targte.x": 1}), r"called 'targte' \(did you mean 'target'"),
        (Request(backend="sim", nodes="0"), "0 nodes cannot be deployed"),
        (Request(backend="sim", nodes="a,a"), "does not name nodes"),
        (Request(backend="sim", nodes="../x,b"), "is no name for a node"),
        (Request(backend="sim", concurrency="many"), "is no concurrency"),
        (Request(target="nowhere.py:Target", backend="sim"), "there is no file 'nowhere.py'"),
    ],
)
def test_a_wrong_request_is_one_sentence_with_the_value_and_the_mend(
    request_: Request, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        resolve(request_)


def test_fewer_nodes_than_the_target_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    raft = resolve(Request(target="raft", backend="sim")).target_class
    monkeypatch.setattr(raft, "minimum_nodes", 3)
    with pytest.raises(
        UsageError, match="takes 3 nodes at least, and 2 would be deployed: give more by --nodes"
    ):
        resolve(Request(target="raft", backend="sim", nodes="a,b"))
    assert len(resolve(Request(target="raft", backend="sim", nodes="3")).plan.nodes) == 3


def test_more_nodes_than_the_target_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    raft = resolve(Request(target="raft", backend="sim")).target_class
    monkeypatch.setattr(raft, "maximum_nodes", 1)
    with pytest.raises(
        UsageError, match="takes 1 node at most, and 2 would be deployed: give fewer by --nodes"
    ):
        resolve(Request(target="raft", backend="sim", nodes="2"))
    assert len(resolve(Request(target="raft", backend="sim", nodes="1")).plan.nodes) == 1


class OnlyLocks(Target[Options]):
    """A target that offers locks and nothing else."""

    services: ClassVar[Mapping[str, type[Any]]] = {"lock": object}

    def command(self, node: object) -> list[str]:  # type: ignore[override]
        return ["true"]


def test_an_impossible_combination_is_said_before_anything_is_deployed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = planning.load_class
    monkeypatch.setattr(
        planning,
        "load_class",
        lambda kind, name, base: OnlyLocks if name == "only" else real(kind, name, base),
    )
    with pytest.raises(UsageError, match="needs the service 'register', and the target 'only' offers lock"):
        resolve(Request(target="only", workload="register", backend="process"))
    with pytest.raises(UsageError, match="cannot be simulated"):
        resolve(Request(target="only", workload="lock", backend="sim"))


def test_a_plug_in_of_the_wrong_kind_is_named(tmp_path: Any) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    with pytest.raises(PlugInError, match="is not a subclass of"):
        resolve(Request(target=f"{tmp_path}/mine.py:Mine", backend="sim"))


def test_a_plug_in_that_lacks_a_method_is_told_which(tmp_path: Any) -> None:
    (tmp_path / "lacking.py").write_text(
        "from foreshock.harness.target import Target\nclass Mine(Target):\n    pass\n"
    )
    with pytest.raises(PlugInError, match="does not define command"):
        resolve(Request(target=f"{tmp_path}/lacking.py:Mine", backend="sim"))


def test_a_kind_of_fault_that_the_backend_cannot_carry_out_is_refused_when_it_is_named() -> None:
    request = Request(target="raft", nemesis="packet", backend="process")
    resolve(request)
    said = (
        r"'packet' is to bring about packet/names, which the backend 'process' cannot \(it can: packet/delay"
    )
    with pytest.raises(UsageError, match=said):
        resolve(msgspec.structs.replace(request, options={"packet.kinds": "delay,names"}))


def test_clocks_of_nodes_that_nothing_comes_between_are_not_skewed(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(target="raft", workload="register", nemesis="clock", backend="process")
    resolve(request)
    monkeypatch.setattr("foreshock.targets.reference.raft_target.Raft.clock", None)
    with pytest.raises(UsageError, match="the nodes of the target 'raft' cannot be told another time"):
        resolve(request)
    resolve(msgspec.structs.replace(request, backend="sim"))
