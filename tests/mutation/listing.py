"""The committed list of survivors, and the document made from it.

``survivors.toml`` has groups of mutants of one module with one answer: ``verdict`` is one of :data:`VERDICTS`,
``argument`` says why, ``by`` names the test where one was written, and ``mutants`` are ``function: old -> new``.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LIST: Final = Path("tests/mutation/survivors.toml")
DOCUMENT: Final = Path("docs/mutation.md")
BEGIN: Final = "<!-- from here on written by python -m tests.mutation --document -->"
VERDICTS: Final = {
    "killed": "survived at first, and is killed by a test written for it",
    "equivalent": "does the same as the code",
    "speed": "gives the same answers in another time or memory",
    "wording": "says the same in other words, or shows more or less of it",
    "left": "is not answered for yet",
}
NOTICED: Final = ("killed", "timed out")
ANSWERED: Final = ("equivalent", "speed", "wording")


@dataclass(frozen=True)
class Answer:
    """What is said of some mutants of one module."""

    module: str
    verdict: str
    argument: str
    by: str
    mutants: tuple[str, ...]


def answers(path: Path = LIST) -> list[Answer]:
    """The committed list."""
    groups = tomllib.loads(path.read_text())["group"]
    return [
        Answer(
            group["module"], group["verdict"], group["argument"], group.get("by", ""), tuple(group["mutants"])
        )
        for group in groups
    ]


def name_of(found: dict[str, Any]) -> str:
    """What the list calls a mutant of its module."""
    return f"{found['function']}: {found['mutant']}"


def survivors(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that no test told apart."""
    return [each for each in found if each["verdict"] not in NOTICED]


def compare(output: Path, modules: Sequence[str]) -> int:
    """Print what survived and is not answered for, and what the list says of mutants that do not survive; 1 if any."""
    listed = {(answer.module, mutant): answer for answer in answers() for mutant in answer.mutants}
    new = 0
    for module, found in results(output):
        if module not in modules:
            continue
        names = {name_of(each) for each in survivors(found)}
        for each in survivors(found):
            answer = listed.get((module, name_of(each)))
            if answer is None or answer.verdict not in ANSWERED:
                new += 1
                print(f"survived and not answered for: {module}:{each['line']} {name_of(each)}")
        for (of_module, mutant), answer in listed.items():
            if of_module == module and answer.verdict in (*ANSWERED, "left") and mutant not in names:
                print(f"listed as {answer.verdict}, but does not survive: {module} {mutant}")
    return 1 if new else 0


def results(output: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What the last runs found, by module."""
    for path in sorted(output.glob("*.json")):
        if path.name != "tests.json" and (found := json.loads(path.read_text())):
            yield found[0]["module"], found


def write_document(output: Path) -> None:
    """Write the counts and the list into the document, below its own words."""
    own = DOCUMENT.read_text().split(BEGIN)[0]
    DOCUMENT.write_text("\n".join([own + BEGIN, "", *_counts(output), "", *_list()]) + "\n")


def _counts(output: Path) -> Iterator[str]:
    listed = {(answer.module, mutant): answer.verdict for answer in answers() for mutant in answer.mutants}
    columns = ("mutants", "killed", "timed out", "equivalent", "speed", "wording", "left")
    total: Counter[str] = Counter()
    yield "## Counts"
    yield ""
    yield f"| module | {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for module, found in results(output):
        counts: Counter[str] = Counter(mutants=len(found))
        for each in found:
            verdict = each["verdict"]
            if verdict not in NOTICED:
                verdict = listed.get((module, name_of(each)), "left")
                verdict = verdict if verdict in ANSWERED else "left"
            counts[verdict] += 1
        total += counts
        yield f"| `{module}` | {' | '.join(str(counts[column]) for column in columns)} |"
    yield f"| all | {' | '.join(str(total[column]) for column in columns)} |"


def _list() -> Iterator[str]:
    for verdict, meaning in VERDICTS.items():
        groups = [answer for answer in answers() if answer.verdict == verdict]
        if not groups:
            continue
        yield f"## {verdict.capitalize()}: {meaning}"
        yield ""
        for module in dict.fromkeys(answer.module for answer in groups):
            yield f"### `{module}`"
            yield ""
            for answer in groups:
                if answer.module == module:
                    by = f" (`{answer.by}`)" if answer.by else ""
                    yield f"{answer.argument}{by}"
                    yield ""
                    yield from (f"- `` {mutant} ``" for mutant in answer.mutants)
                    yield ""
