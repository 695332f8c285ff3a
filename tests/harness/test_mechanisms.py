from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from foreshock.harness import mechanisms
from foreshock.harness.mechanisms import carried, carriers, grouped, order, shortened
from foreshock.harness.registry import Kind, load, names
from foreshock.nemesis.kill import KillNemesis
from foreshock.nemesis.stall import StallNemesis

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "nemeses.md"
BACKENDS = ("sim", "process", "docker", "ssh")
NOT = "-"


class Backend:
    """A backend that carries what it is told to, and says why not the rest."""

    def __init__(self, has: Mapping[str, str], lacks: Mapping[str, str] | None = None) -> None:
        self._has = has
        self._lacks = lacks or {}

    def mechanisms(self) -> Mapping[str, str]:
        return self._has

    def lacks(self) -> Mapping[str, str]:
        return self._lacks


def stub_backends(monkeypatch: pytest.MonkeyPatch, **backends: Backend) -> None:
    monkeypatch.setattr(mechanisms, "names", lambda _kind: list(backends))
    monkeypatch.setattr(mechanisms, "load", lambda _kind, name: lambda: backends[name])


def test_what_is_missing_is_told_with_the_mend_or_with_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_backends(
        monkeypatch,
        full=Backend({"kill": "a", "disk/full": "b", "packet/delay": "c", "packet/loss": "c", "pause/freezer": "d"}),
        poor=Backend({"kill": "a", "packet": "e", "pause/signal": "f"}, {"disk": "no fuse: install it"}),
        none=Backend({}, {"pause/freezer": "be root"}),
    )  # fmt: skip
    found = carried()
    assert found["full"].missing == {}
    assert found["poor"].missing == {"disk/full": "no fuse: install it"}
    assert found["none"].missing == {
        "kill": "not by this backend: use --backend full or poor",
        "pause/freezer": "be root",
        "pause/signal": "not by this backend: use --backend poor",
        "packet": "not by this backend: use --backend poor",
        "packet/delay": "not by this backend: use --backend full",
        "packet/loss": "not by this backend: use --backend full",
        "disk/full": "not by this backend: use --backend full",
    }
    assert carriers(KillNemesis, found) == {"full": "a", "poor": "a"}
    assert set(carriers(StallNemesis, found)) == {"full", "poor", "none"}


def test_kinds_that_share_a_mechanism_are_told_together() -> None:
    groups = grouped({"disk/full": "fuse", "kill": "SIGKILL", "disk/bit-flip": "fuse", "power": "fuse"})
    assert {text: shortened(kinds) for text, kinds in groups.items()} == {
        "SIGKILL": "kill",
        "fuse": "power, disk (bit-flip, full)",
    }


def documented() -> dict[str, dict[str, str]]:
    """The table of the docs: by kind of fault, by backend, the cell."""
    rows: dict[str, dict[str, str]] = {}
    section = DOCS.read_text().partition("## Which backend carries it, and by what")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == len(BACKENDS) + 1 and cells[0].startswith("`"):
            for kind in re.findall(r"`([^`]+)`", cells[0]):
                rows[kind] = dict(zip(BACKENDS, cells[1:], strict=True))
    return rows


def in_docs(kind: str, backend: str, rows: Mapping[str, Mapping[str, str]]) -> str:
    family = kind.partition("/")[0]
    found = rows.get(kind) or next(
        (row for each, row in rows.items() if each.partition("/")[0] == family), {}
    )
    return found.get(backend, NOT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_table_in_the_docs_says_what_the_code_does_on_this_machine(backend: str) -> None:
    """Where machines differ a cell has several mechanisms, each on a line of its own; this one has one of them."""
    rows = documented()
    wrong = {
        kind: mechanism
        for kind, mechanism in load(Kind.BACKENDS, backend)().mechanisms().items()
        if mechanism not in in_docs(kind, backend, rows).split("<br>")
    }
    assert wrong == {}


def test_the_table_in_the_docs_says_nothing_that_no_code_says() -> None:
    code = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    invented = {
        cell
        for row in documented().values()
        for cells in row.values()
        for cell in cells.split("<br>")
        if cell != NOT and cell not in code and not any(cell in said for said in here())
    }
    assert invented == set()


def here() -> list[str]:
    return [
        text for name in names(Kind.BACKENDS) for text in load(Kind.BACKENDS, name)().mechanisms().values()
    ]


def test_every_nemesis_has_its_row_in_the_docs() -> None:
    text = DOCS.read_text()
    assert [name for name in names(Kind.NEMESES) if f"| `{name}` |" not in text] == []


def test_kinds_are_told_in_the_order_in_which_people_look_for_them() -> None:
    assert sorted(["disk/full", "pause/signal", "partition", "other", "kill"], key=order) == [
        "partition",
        "kill",
        "pause/signal",
        "disk/full",
        "other",
    ]
