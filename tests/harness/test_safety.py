from __future__ import annotations

from pathlib import Path

import pytest

from foreshock.harness.backends import grudge_rules
from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.plan import resolve
from foreshock.harness.request import Request
from foreshock.harness.safety import guard, is_allowed, objections, parse_allowed


def test_patterns_fit_nodes_and_their_containers() -> None:
    for pattern in ("n1", "n*", "foreshock-n1", "foreshock-*-n1", "*"):
        assert is_allowed([pattern], "n1")
    for pattern in ("n2", "foreshock-*-n2", "postgres", "n"):
        assert not is_allowed([pattern], "n1")
    assert is_allowed(None, "n1")


@pytest.mark.parametrize("text", ["", "n1,,n2", ","])
def test_an_empty_pattern_is_an_error_and_no_way_to_allow_nothing_or_all(text: str) -> None:
    with pytest.raises(UsageError, match="has an empty pattern"):
        parse_allowed(text)


def test_a_test_whose_faults_could_touch_others_is_refused_before_it_is_deployed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"kill may touch n2, n3 on sim, and the allow-list \(n1\) does not"):
        resolve(Request(nemesis="kill", backend="sim", nodes="3", allow="n1"))
    with pytest.raises(
        UsageError, match="the allow-list names 'db-1', and no node of this test is called so"
    ):
        resolve(Request(nemesis="kill", backend="sim", nodes="3", allow="n*,db-1"))
    assert resolve(Request(nemesis="kill", backend="sim", nodes="3", allow="n*")).plan.allow == ("n*",)
    assert resolve(Request(nemesis="stall", backend="sim", nodes="3", allow="n1")).plan.allow == ("n1",)
    schedule = tmp_path / "faults.toml"
    schedule.write_text('[[fault]]\nat = 1\ndo = "kill"\nnodes = ["n1"]\nfor = 1\n')
    assert resolve(Request(schedule=str(schedule), backend="sim", nodes="3", allow="n1")).plan.schedule
    schedule.write_text(
        '[[fault]]\nat = 1\ndo = "kill"\nnodes = ["n1"]\n[[fault]]\nat = 2\ndo = "kill"\nvalue = "one"\n'
    )
    with pytest.raises(UsageError, match="may touch n2, n3"):
        resolve(Request(schedule=str(schedule), backend="sim", nodes="3", allow="n1"))


def test_the_ledger_refuses_a_fault_on_what_is_not_on_the_list(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "faults.jsonl", lambda: 0, guard=guard(("n1", "n2")))
    ledger.planned("kill", frozenset({"n1"}), inverse={})
    with pytest.raises(FaultError, match="the fault kill was refused: n3 is not on the allow-list"):
        ledger.planned("kill", frozenset({"n1", "n3"}), inverse={})
    assert len(ledger.all()) == 1
    ledger.close()


def test_a_fault_whose_inverse_would_touch_what_is_not_ours_is_not_taken(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "faults.jsonl", lambda: 0, guard=guard(None))
    with pytest.raises(FaultError, match=r"the script that undoes it on n1 .*INPUT"):
        ledger.planned("packet", frozenset({"n1"}), inverse={"scripts": {"n1": "iptables -F INPUT"}})
    ours = {"scripts": {"n1": "iptables -F FORESHOCK-OUT"}}
    ledger.planned("packet", frozenset({"n1"}), inverse=ours)
    assert [fault.inverse for fault in ledger.all()] == [ours]
    ledger.close()


def test_our_own_rules_are_none_to_object_to() -> None:
    for script in (
        grudge_rules.refuse(["10.0.0.1", "10.0.0.2"]),
        grudge_rules.refuse([]),
        grudge_rules.remove(),
    ):
        assert objections(script) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("iptables -F", "changes the chain of every name"),
        ("iptables -w 5 -F INPUT", "changes the chain INPUT"),
        ("iptables -A INPUT -s 10.0.0.1 -j DROP", "changes the chain INPUT"),
        ("/usr/sbin/iptables -t nat -A PREROUTING -j REDIRECT", "changes the chain PREROUTING"),
        ("ip6tables -P INPUT DROP", "sets the policy"),
        ("set -e\nif true; then iptables -D OUTPUT 1; fi", "changes the chain OUTPUT"),
        ("iptables-restore <<'R'\n*filter\nCOMMIT\nR", "flushes what was in it"),
        ("iptables-restore -n <<'R'\n*filter\n:INPUT DROP [0:0]\nCOMMIT\nR", "sets the policy of INPUT"),
        (
            "iptables-restore -n <<'R'\n*filter\n-A INPUT -s 1.2.3.4 -j DROP\nCOMMIT\nR",
            "changes the chain INPUT",
        ),
        ("iptables-restore -n <<'R'\n*filter\n:MINE - [0:0]\nCOMMIT\nR", "the chain MINE, which is not ours"),
        ("ip route del default", "changes routes"),
        ("ip -4 rule add from all table 7", "changes routes"),
        ("ip link set eth0 down", "changes an interface"),
        ("nft flush ruleset", "flushes every rule"),
        ("pkill -9 raft", "ends processes by their name"),
        ("kill -9 -1", "signals every process"),
        ("rm -rf /", "removes everything"),
    ],
)
def test_what_no_script_of_ours_may_do_is_found(script: str, said: str) -> None:
    assert any(said in found for found in objections(script)), objections(script)


@pytest.mark.parametrize(
    "script",
    [
        "kill -STOP -- -1234",
        "kill -9 1234",
        "rm -rf /control/ours",
        "iptables -w 5 -I INPUT 1 -j FORESHOCK",
        "iptables -N FORESHOCK-OUT; iptables -A FORESHOCK-OUT -j NFQUEUE --queue-num 7",
        "ip route show; ip -4 addr show dev eth0",
        "iptables -w 5 -n -L FORESHOCK",
    ],
)
def test_what_they_may_do_is_not_objected_to(script: str) -> None:
    assert objections(script) == []
