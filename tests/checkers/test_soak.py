"""Five thousand small random histories of every model: each decision procedure says what the oracle says."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from functools import cache

import pytest
from tests.checkers import soak
from tests.checkers.soak import MODELS, Answers, Histories, Mismatch, Report, compare, deciders_of

from foreshock.checkers.entries import Entry
from foreshock.harness.model import Model
from foreshock.harness.registry import Kind, load, names

COUNT = 5_000
DECIDED_MIN = 10


@cache
def report() -> Report:
    return compare(COUNT, seed=5)


@pytest.fixture
def no_slow_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "DECIDERS", {"search": soak.by_search})


def test_every_procedure_agrees_with_the_oracle() -> None:
    assert sum(report().histories.values()) == COUNT
    assert [mismatch.program() for mismatch in report().mismatches[:3]] == []


def test_every_registered_model_is_among_them() -> None:
    assert set(MODELS) == set(names(Kind.MODELS))


@pytest.mark.parametrize("name", MODELS)
def test_every_procedure_decided_both_legal_and_illegal_histories(name: str) -> None:
    for decider in deciders_of(load(Kind.MODELS, name)()):
        for legal in (True, False):
            assert report().decisions[name, decider, legal] >= DECIDED_MIN, (decider, legal)


@pytest.mark.usefixtures("no_slow_search")
def test_a_procedure_that_is_wrong_is_found_and_its_history_made_small() -> None:
    def credulous(histories: Histories, model: Model) -> Answers:
        """Takes every history with a read of 2 to be legal."""
        return [True if any(e.result == 2 for e in history) else None for history in histories]

    found = compare(400, seed=1, models=["register"], more={"credulous": credulous}).mismatches
    assert {mismatch.decider for mismatch in found} == {"credulous"}
    assert all(mismatch.said is True and not mismatch.legal for mismatch in found)
    # The read alone is illegal already: nobody wrote a 2.
    assert {len(mismatch.history) for mismatch in found[:3]} == {1}


@pytest.mark.usefixtures("no_slow_search")
def test_a_procedure_that_raises_is_a_mismatch() -> None:
    def fragile(histories: Histories, model: Model) -> Answers:
        for history in histories:
            if len(history) > 5:
                raise ValueError("too long for me")
        return [None] * len(histories)

    found = compare(50, seed=1, models=["counter"], more={"fragile": fragile}).mismatches
    assert found
    assert {mismatch.said for mismatch in found} == {"ValueError: too long for me"}
    assert {len(mismatch.history) for mismatch in found[:3]} == {6}


@pytest.mark.usefixtures("no_slow_search")
def test_a_procedure_that_goes_wrong_only_among_other_histories_is_found() -> None:
    def hasty(histories: Histories, model: Model) -> Answers:
        return [None] * len(histories) if len(histories) == 1 else [True] * len(histories)

    found = compare(50, seed=1, models=["register"], more={"hasty": hasty}).mismatches
    assert {mismatch.said for mismatch in found[:3]} == {"True among others"}


@pytest.mark.usefixtures("no_slow_search")
def test_the_program_of_a_mismatch_runs_and_shows_it() -> None:
    history = [Entry(0, 0, 3, "write", 1), Entry(1, 1, 2, "read", None, 2)]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(Mismatch("register", "search", True, False, history).program(), "program", "exec"), {})
    answer = eval(out.getvalue())
    assert (answer["oracle"], answer["search"]) == (False, False)


@pytest.mark.usefixtures("no_slow_search")
@pytest.mark.parametrize(("answer", "code"), [(None, 0), (True, 1)])
def test_the_exit_code_says_whether_there_was_a_mismatch(
    answer: bool | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stubborn(histories: Sequence[list[Entry]], model: Model) -> Answers:
        return [answer] * len(histories)

    monkeypatch.setitem(soak.DECIDERS, "stubborn", stubborn)
    monkeypatch.setattr("sys.argv", ["soak", "--count", "60", "--models", "stack", "--deciders", "stubborn"])
    assert soak.main() == code
    out = capsys.readouterr().out
    assert "60 histories" in out
    assert ("from tests.checkers.soak import answers" in out) == bool(code)
