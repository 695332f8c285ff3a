"""Sessions: a retry takes effect once, also after a snapshot; silence and limits end sessions, by the log alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.services.cache import CacheOrigin
from foreshock.targets.reference.node.services.lock import Locks
from foreshock.targets.reference.node.services.register import Registers
from foreshock.targets.reference.node.sessions import Session, Sessions


def make() -> Sessions:
    return Sessions([Registers(), Locks(), CacheOrigin()])


def put(client: int | None, sequence: int | None, value: int) -> list[Any]:
    return ["do", client, sequence, ["put", "k", value]]


def opened(sessions: Sessions, position: int = 1, limit: int = 10) -> int:
    reply = sessions.apply(position, ["open", 1000, limit])
    assert reply == {"type": "open_ok", "client": position, "ttl_ms": 1000}
    return position


def test_a_request_sent_twice_takes_effect_once_and_is_answered_alike() -> None:
    sessions = make()
    client = opened(sessions)
    first = sessions.apply(2, put(client, 1, 7))
    assert sessions.apply(3, put(client, 1, 7)) == first == {"type": "put_ok", "version": 1}
    assert sessions.apply(4, put(client, 2, 8))["version"] == 2


def test_a_request_older_than_the_last_is_refused_and_not_applied() -> None:
    sessions = make()
    client = opened(sessions)
    sessions.apply(2, put(client, 2, 7))
    assert sessions.apply(3, put(client, 1, 6))["code"] == codes.SEQUENCE_STALE
    assert sessions.apply(4, put(client, 3, 8))["version"] == 2


def test_the_dedup_table_survives_a_snapshot() -> None:
    sessions = make()
    client = opened(sessions)
    first = sessions.apply(2, put(client, 1, 7))
    copy = make()
    copy.restore(json.loads(json.dumps(sessions.snapshot())))
    assert copy.apply(3, put(client, 1, 7)) == first
    assert copy.apply(4, put(client, 2, 7)) == sessions.apply(4, put(client, 2, 7))
    assert copy.snapshot()["services"] == sessions.snapshot()["services"]


def test_a_snapshot_shares_nothing_with_the_state_that_goes_on() -> None:
    sessions = make()
    client = opened(sessions)
    sessions.apply(2, ["do", client, 1, ["acquire", "a", False]])
    before = json.dumps(taken := sessions.snapshot())
    sessions.apply(3, ["do", client, 2, ["release", "a", None]])
    sessions.apply(4, put(client, 3, 9))
    assert json.dumps(taken) == before


def test_an_unknown_session_is_told_so_and_nothing_is_applied() -> None:
    sessions = make()
    assert sessions.apply(1, put(99, 1, 7))["code"] == codes.SESSION_UNKNOWN
    assert sessions.apply(2, put(None, None, 7))["version"] == 1


def test_expiry_spares_a_session_that_was_heard_of_before_it_in_the_log() -> None:
    sessions = make()
    client = opened(sessions)
    sessions.apply(2, put(client, 1, 7))
    assert sessions.apply(3, ["expire", [[client, 1]]])["ended"] == []
    assert sessions.apply(4, ["expire", [[client, 2]]])["ended"] == [client]
    assert sessions.apply(5, put(client, 1, 7))["code"] == codes.SESSION_UNKNOWN


def test_even_a_retry_keeps_a_session_alive() -> None:
    sessions = make()
    client = opened(sessions)
    sessions.apply(2, put(client, 1, 7))
    sessions.apply(3, put(client, 1, 7))
    assert sessions.apply(4, ["expire", [[client, 2]]])["ended"] == []


def test_one_session_too_many_ends_the_longest_silent_one_that_holds_nothing() -> None:
    sessions = make()
    holder, idle, busy = opened(sessions, 1, 3), opened(sessions, 2, 3), opened(sessions, 3, 3)
    sessions.apply(4, ["do", holder, 1, ["acquire", "a", False]])
    sessions.apply(5, put(busy, 1, 1))
    opened(sessions, 6, 3)
    assert [sessions.get(s) is not None for s in (holder, idle, busy, 6)] == [True, False, True, True]


def test_no_session_is_opened_at_the_cost_of_one_that_holds_a_lock() -> None:
    sessions = make()
    holder = opened(sessions, 1, 1)
    sessions.apply(2, ["do", holder, 1, ["acquire", "a", False]])
    assert sessions.apply(3, ["open", 1000, 1])["code"] == codes.TEMPORARILY_UNAVAILABLE
    assert sessions.get(holder) is not None


def test_closing_a_session_frees_its_locks_and_is_no_news_the_second_time() -> None:
    sessions = make()
    one, other = opened(sessions, 1), opened(sessions, 2)
    sessions.apply(3, ["do", one, 1, ["acquire", "a", False]])
    assert sessions.apply(4, ["close", one]) == {"type": "close_ok"}
    assert sessions.apply(5, ["close", one])["code"] == codes.SESSION_UNKNOWN
    assert sessions.apply(6, ["do", other, 1, ["acquire", "a", False]])["granted"]


@pytest.mark.parametrize(
    "command",
    [
        None,
        7,
        [],
        {"do": 1},
        ["do"],
        ["do", 1, 1, []],
        ["do", 1, 1, [[], {}]],
        ["do", 1, "x", ["put", "k", 1]],
        ["do", 1, 1, ["nonsense", 1]],
        ["do", True, {}, {}],
        ["do", 1, 5, ["put", None, 1]],
        ["do", None, None, ["acquire", "a", True]],
        ["open", "1", 2],
        ["expire", [5]],
        ["expire", [[[], 1]]],
    ],
)
def test_nonsense_in_the_log_gets_an_error_and_changes_no_service(command: Any) -> None:
    sessions = make()
    opened(sessions)
    before = json.dumps(sessions.snapshot()["services"])
    assert sessions.apply(2, command)["type"] == "error"
    assert json.dumps(sessions.snapshot()["services"]) == before


@pytest.mark.parametrize("data", [None, [], {}, {"sessions": [], "services": {}}, {"sessions": [[1]]}])
def test_a_snapshot_that_makes_no_sense_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        make().restore(data)


def test_the_decision_about_retries_is_one_method_that_a_planted_bug_can_override() -> None:
    class Forgetful(Sessions):
        def answered(self, session: Session, sequence: int) -> codes.Body | None:
            return None

    sessions = Forgetful([CacheOrigin()])
    client = opened(sessions)
    assert sessions.apply(2, put(client, 1, 7))["version"] == 1
    assert sessions.apply(3, put(client, 1, 7))["version"] == 2
