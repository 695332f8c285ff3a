"""The list of survivors is well formed, and mutants are what the list says they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mutation.listing import VERDICTS, answers
from tests.mutation.mutants import mutants_of

import foreshock.checkers

CHECKERS = Path(foreshock.checkers.__file__).parent


def test_every_answer_is_of_a_module_that_is_there_and_says_why() -> None:
    listed = answers()
    assert listed
    for answer in listed:
        assert (CHECKERS / answer.module).is_file()
        assert answer.verdict in VERDICTS
        assert answer.argument
        assert answer.mutants


def test_no_mutant_has_two_answers() -> None:
    names = [(answer.module, mutant) for answer in answers() for mutant in answer.mutants]
    assert len(set(names)) == len(names)


def test_mutants_change_one_line_of_one_function_each(tmp_path: Path) -> None:
    module = tmp_path / "small.py"
    module.write_text(
        "LIMIT = 3\n\n\ndef is_small(number: int, most: int = 4) -> bool:\n"
        '    """Whether it is 1."""\n    return number < 5 and not number == LIMIT\n'
    )
    found = {(mutant.function, mutant.plus) for mutant in mutants_of(module, "small.py")}
    assert found == {
        ("is_small", "return number < 5 or not number == LIMIT"),
        ("is_small", "return number <= 5 and not number == LIMIT"),
        ("is_small", "return number < 6 and not number == LIMIT"),
        ("is_small", "return number < 5 and number == LIMIT"),
        ("is_small", "return number < 5 and not number != LIMIT"),
    }


@pytest.mark.parametrize("module", ["search.py", "entries.py"])
def test_every_mutant_has_a_name_of_its_own(module: str) -> None:
    names = [mutant.name for mutant in mutants_of(CHECKERS / module, module)]
    assert names
    assert len(set(names)) == len(names)
