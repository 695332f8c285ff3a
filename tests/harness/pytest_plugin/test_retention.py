"""The store of chaos tests has a limit: which runs go at the end of a session, and which never do."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import msgspec
import pytest
from tests.harness.pytest_plugin.test_pytest_plugin import VALID, outcomes

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.pytest_plugin.retention import ELSEWHERE_S, OWNER, Owner, remove_oldest
from foreshock.harness.store import RESULTS, write_json

pytest_plugins = ["pytester"]

HERE: Final = identify(os.getpid())
assert HERE is not None
ENDED: Final = msgspec.structs.replace(HERE, started="long ago")
ELSEWHERE: Final = msgspec.structs.replace(HERE, place="another machine")


def run_of(root: Path, second: int, session: ProcessIdentity | None) -> Path:
    """A finished run that a session of pytest left; ``None``: one that is not of pytest."""
    run = root / "raft-register" / f"20260101T0000{second:02}-abcdef"
    run.mkdir(parents=True)
    (run / RESULTS).write_text("{}")
    if session is not None:
        write_json(run / OWNER, Owner("test_it.py::test_it", session))
    return run


def left(root: Path) -> set[int]:
    return {int(run.name[13:15]) for run in root.glob("raft-register/20260101*")}


def test_the_oldest_runs_of_sessions_that_have_ended_go(tmp_path: Path) -> None:
    for second in range(5):
        run_of(tmp_path, second, ENDED)
    (tmp_path / "latest").symlink_to("raft-register/20260101T000000-abcdef")
    remove_oldest(tmp_path, 2)
    assert left(tmp_path) == {3, 4}
    assert not (tmp_path / "latest").is_symlink()
    remove_oldest(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_of_pytest_stays_and_does_not_count(tmp_path: Path) -> None:
    run_of(tmp_path, 0, ENDED)
    run_of(tmp_path, 1, ENDED)
    run_of(tmp_path, 2, None)
    (run_of(tmp_path, 3, None) / OWNER).write_text('{"test": 3}')
    (run_of(tmp_path, 4, None) / OWNER).write_text("no JSON")
    (tmp_path / "raft-register" / "notes").mkdir()
    elsewhere = run_of(tmp_path / "elsewhere", 5, ENDED)
    (tmp_path / "raft-register" / "20260101T000009-abcdef").symlink_to(elsewhere)
    remove_oldest(tmp_path, 1)
    assert left(tmp_path) == {1, 2, 3, 4, 9}
    assert (tmp_path / "raft-register" / "notes").is_dir()
    assert elsewhere.is_dir()


def test_runs_of_a_session_that_is_going_on_stay_whatever_their_number(tmp_path: Path) -> None:
    for second in range(3):
        run_of(tmp_path, second, HERE)
        run_of(tmp_path, 10 + second, ENDED)
    remove_oldest(tmp_path, 0)
    assert left(tmp_path) == {0, 1, 2}


def test_a_session_that_nobody_here_can_look_for_has_ended_after_a_day(tmp_path: Path) -> None:
    run_of(tmp_path, 0, ELSEWHERE)
    old = run_of(tmp_path, 1, ELSEWHERE)
    then = time.time() - ELSEWHERE_S - 60
    os.utime(old / OWNER, (then, then))
    remove_oldest(tmp_path, 0)
    assert left(tmp_path) == {0}


def test_a_run_whose_cluster_is_not_torn_down_stays_until_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path, 0, ENDED)
    entry = live_runs.register(run.name.lower(), backend="process", directory=run)
    remove_oldest(tmp_path, 0)
    assert left(tmp_path) == {0}
    entry.close()
    remove_oldest(tmp_path, 0)
    assert left(tmp_path) == set()


def test_a_session_ends_with_as_many_runs_as_it_is_told_to_leave(pytester: pytest.Pytester) -> None:
    store = pytester.path / "mine"
    for second in range(3):
        run_of(store, second, ENDED)
    pytester.makepyfile(test_chaos=VALID, test_other="def test_it(): pass")
    pytester.makeini("[pytest]\nforeshock_store = mine\nforeshock_retention_count = 2\n")
    outcomes(pytester.runpytest("test_other.py"), passed=1)
    assert left(store) == {0, 1, 2}, "a session without chaos tests has nothing to do with the store"
    outcomes(pytester.runpytest("test_chaos.py"), passed=1)
    assert left(store) == {1, 2}


def test_two_workers_remove_what_is_old_and_nothing_of_each_other(pytester: pytest.Pytester) -> None:
    store = pytester.path / ".foreshock"
    for second in range(3):
        run_of(store, second, ENDED)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(foreshock, number):
            foreshock.test(target="raft", backend="sim", nodes=3, time_limit=0.5)
            assert number < 0
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "-o", "foreshock_retention_count=0")
    result.assert_outcomes(failed=4)
    assert left(store) == set()
    owners = [msgspec.json.decode(path.read_bytes(), type=Owner) for path in store.glob("raft-*/2*/" + OWNER)]
    assert sorted(owner.test for owner in owners) == [
        f"test_two_workers_remove_what_is_old_and_nothing_of_each_other.py::test_it[{number}]"
        for number in range(4)
    ]
    assert len({owner.session for owner in owners}) == 1, "both workers are of the controller's session"


def test_a_store_that_cannot_be_made_is_said_with_the_option_that_names_another(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "mine").write_text("no folder")
    pytester.makepyfile(VALID)
    said = outcomes(pytester.runpytest("--foreshock-store", "mine"), failed=1)
    assert "cannot be made: Not a directory (choose another store with --foreshock-store)" in said


@pytest.mark.parametrize("count", ["-1", "few", "1.5"])
def test_a_count_that_is_none_is_said_by_its_value(count: str, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\nforeshock_retention_count = {count}\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(f"*foreshock_retention_count = '{count}': give a whole number from 0")
