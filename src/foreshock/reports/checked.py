"""The page of ``foreshock check``: the verdict of every file, and for every illegal key why no order of it is legal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from foreshock.harness.checker import Counterexample
from foreshock.harness.errors import HarnessError
from foreshock.harness.reporter import Reporter
from foreshock.reports.counterexample import Bar, Layout, lay_out, operations_of
from foreshock.reports.counterexample_drawing import draw
from foreshock.reports.lock_holds import holds_of
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.rendering import render, write_page
from foreshock.reports.scales import counted

DOCUMENT = "check.json"
PAGE = "check.html"
DRAWN_KEYS_MAX = 100
"""So many illegal keys are drawn, over all files; the others are listed with their reasons."""
ROWS_MAX = 5_000
STATES_MAX = 20
_REASON_CHARACTERS_MAX = 400


class CheckedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the document of ``foreshock check --json``."""

    file: str
    verdict: str
    reason: str = ""
    error: str = ""
    operations: int = 0
    seconds: float = 0.0
    method: str = ""
    counterexamples: tuple[Counterexample, ...] = ()

    @property
    def says(self) -> str:
        """Why it has its verdict, or why it has none."""
        return clip(self.error or self.reason, _REASON_CHARACTERS_MAX)


class CheckDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What ``foreshock check --json`` says."""

    verdict: str
    seconds: float
    histories: tuple[CheckedFile, ...]


class DrawnKey(NamedTuple):
    """One illegal key with its drawing; the names are those that a violation of a test has."""

    number: int
    file: str
    key: str | None
    reason: str
    drawing: Markup
    layout: Layout
    holds: bool
    states: tuple[str, ...]
    argument: tuple[str, ...]
    undecided: int
    earlier: int

    @property
    def bars(self) -> tuple[Bar, ...]:
        """The operations drawn, in order of invocation."""
        return self.layout.bars


class CheckPage(NamedTuple):
    """What the template is given."""

    verdict: str
    sentence: str
    seconds: float
    operations: int
    files: tuple[CheckedFile, ...]
    files_left_out: int
    drawn: tuple[DrawnKey, ...]
    listed: tuple[tuple[str, str | None, str], ...]
    """File, key and reason of the illegal keys that are not drawn."""


class CheckReporter(Reporter):
    """Writes the page of ``foreshock check --html``: one file, readable from disk without a network or JavaScript."""

    name = "check"

    def report(self, run: Path) -> Path | None:
        """Render the ``check.json`` of a folder; any other folder is not its business."""
        path = run / DOCUMENT
        if not path.is_file():
            return None
        try:
            document = msgspec.json.decode(path.read_bytes())
        except msgspec.DecodeError as error:
            raise HarnessError(f"{path} is not what foreshock check --json writes: {error}") from error
        return self.write(document, run / PAGE)

    def write(self, document: Mapping[str, Any], path: Path) -> Path:
        """Write the page of a document to a file; raises :class:`HarnessError` when that cannot be done."""
        try:
            checked = msgspec.convert(document, CheckDocument)
            page = check_page(checked)
        except msgspec.ValidationError as error:
            raise HarnessError(f"a counterexample cannot be drawn for {path}: {error}") from error
        return write_page(path, render("check.html.j2", ("page.js",), page=page))


def check_page(document: CheckDocument) -> CheckPage:
    """Put the page together."""
    found = [(file.file, example) for file in document.histories for example in file.counterexamples]
    files = document.histories
    return CheckPage(
        verdict=document.verdict,
        sentence=_sentence(files),
        seconds=document.seconds,
        operations=sum(file.operations for file in files),
        files=files[:ROWS_MAX],
        files_left_out=max(0, len(files) - ROWS_MAX),
        drawn=tuple(
            _drawn(number, file, example)
            for number, (file, example) in enumerate(found[:DRAWN_KEYS_MAX], start=1)
        ),
        listed=tuple(
            (file, _key(example), clip(example.reason, _REASON_CHARACTERS_MAX))
            for file, example in found[DRAWN_KEYS_MAX:ROWS_MAX]
        ),
    )


def _sentence(files: tuple[CheckedFile, ...]) -> str:
    if len(files) == 1:
        # What follows the colon stands where the key is told.
        others = len(files[0].counterexamples) - 1
        more = f", nor {'is' if others == 1 else 'are'} {counted(others, 'other key')}" if others > 0 else ""
        return f"{files[0].says.partition(': ')[0]}{more}" if files[0].counterexamples else files[0].says
    counts = {word: sum(file.verdict == word for file in files) for word in ("invalid", "unknown", "valid")}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{counted(len(files), 'history')}: {told}".replace("historys", "histories")


def _drawn(number: int, file: str, example: Counterexample) -> DrawnKey:
    layout = lay_out(example, operations_of(example, lambda _: ()))
    shown = {bar.operation.invoke_index for bar in layout.bars}
    return DrawnKey(
        number=number,
        file=file,
        key=_key(example),
        reason=example.reason,
        drawing=draw(layout, f"counterexample-{number}", f"Counterexample: {example.reason}"),
        layout=layout,
        holds=bool(holds_of(layout)),
        states=example.states[:STATES_MAX],
        argument=example.argument,
        undecided=example.undecided,
        earlier=example.earlier + sum(index not in shown for index in example.prefix),
    )


def _key(example: Counterexample) -> str | None:
    return None if example.key is None else value_text(example.key)
