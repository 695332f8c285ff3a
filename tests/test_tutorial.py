"""The tutorial: its commands say what it says they say, and the code that it quotes is the code."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from tests import documents
from tests.documents import Said, Shown

from foreshock.targets.naive.targets import NaiveCache, NaiveLock, NaivePaxos, NaiveRaft, NaiveZab

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TUTORIAL = (DOCS / "tutorial.md").read_text()
SHOWN = list(documents.commands(TUTORIAL))
NAIVE = {target.program for target in (NaivePaxos, NaiveRaft, NaiveZab, NaiveLock, NaiveCache)}
MEND = "if that is right: python -m tests.documents docs/tutorial.md, and read what it wrote"


def target_of(shown: Shown) -> str:
    return shown.arguments[shown.arguments.index("--target") + 1]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{target_of(shown)}-{shown.code}")
def test_a_command_ends_as_shown_and_says_what_is_quoted(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    documents.hold(shown, MEND)


def test_the_five_are_convicted_and_nobody_else_is() -> None:
    convicted = {target_of(shown) for shown in SHOWN if shown.code == 1}
    assert convicted == NAIVE
    assert {shown.code for shown in SHOWN if target_of(shown) not in NAIVE} == {0}


def test_each_conviction_is_the_exhibit_of_its_target() -> None:
    for target in (NaivePaxos, NaiveRaft, NaiveZab, NaiveLock, NaiveCache):
        request = target.exhibits[0].request
        (command,) = (s.command for s in SHOWN if s.code == 1 and target_of(s) == target.program)
        wanted = {
            f"--workload {request.workload}",
            f"--concurrency {request.concurrency}",
            f"--time-limit {request.time_limit:g}",
            *(f"-o {name}={value}" for name, value in request.options.items()),
        }
        if request.nemesis != "none":
            wanted |= {f"--nemesis {request.nemesis}", f"--interval {request.interval:g}"}
        assert [part for part in sorted(wanted) if part not in command] == []


def test_the_code_that_it_quotes_is_the_code() -> None:
    sources = [
        " ".join(path.read_text().split())
        for path in (ROOT / "src/foreshock/targets/naive/node").glob("*.py")
    ]
    quoted = list(documents.blocks(TUTORIAL, "python"))
    assert len(quoted) >= 5
    for code in quoted:
        wanted = " ".join(textwrap.dedent(code).split())
        assert any(wanted in source for source in sources), f"nowhere to be found:\n{code}"


@pytest.mark.parametrize("page", ["README.md", "tutorial.md"])
def test_what_the_pages_link_to_is_there(page: str) -> None:
    text = (DOCS / page).read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert links
    assert [link for link in links if "://" not in link and not (DOCS / link).exists()] == []


def test_the_list_of_pages_names_each_once() -> None:
    text = (DOCS / "README.md").read_text()
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md", "index.md"}
    assert [page for page in sorted(pages) if text.count(f"]({page})") != 1] == []


DOCUMENT = """\
Text.

```console
$ foreshock list \\
      bugs
old
$ echo $?
0
$ foreshock test --backend docker
kept
```
"""


def test_commands_are_read_with_their_continuations_output_and_exit_code() -> None:
    assert list(documents.commands(DOCUMENT)) == [
        Shown("foreshock list bugs", "old", 0),
        Shown("foreshock test --backend docker", "kept", 0),
    ]
    assert [shown.simulated for shown in documents.commands(DOCUMENT)] == [True, False]
    with pytest.raises(ValueError, match="no foreshock command"):
        _ = Shown("rm -r store", "", 0).arguments


def test_a_refreshed_document_has_the_new_output_and_leaves_the_rest_alone() -> None:
    fresh = documents.refreshed(DOCUMENT, lambda shown: Said("new\n  run    store/x/y\n  report z\n", 1))
    assert fresh == DOCUMENT.replace("old\n$ echo $?\n0", "new\n…\n$ echo $?\n1")
    assert documents.refreshed(DOCUMENT, lambda shown: Said("old\n", 0)) == DOCUMENT
    with pytest.raises(ValueError, match="foreshock list bugs ended with 3, which no document should show"):
        documents.refreshed(DOCUMENT, lambda shown: Said("", 3))


def test_a_quotation_may_be_folded_and_leave_things_out_but_not_say_anything_else() -> None:
    out = "one two three\n\n  four   five\nsix\n"
    assert documents.missing("one two\nthree\n…\nsix", out) is None
    assert documents.missing("one … five", out) is None
    assert documents.missing("six\n…\none", out) == "one"
    assert documents.missing("seven", out) == "seven"


def test_of_a_valid_outcome_the_figures_are_left_out() -> None:
    out = (
        "✓ VALID  every checker found the history of 12 operations valid\n  operations ok 12\n  faults none\n"
    )
    assert documents.quotation(out) == "✓ VALID  every checker found the history of … operations valid\n…"
