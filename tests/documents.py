"""The commands that a document shows, and what it says of their output; run them, and hold the document to it.

A document shows commands in fenced blocks of the language ``console``. A line that begins with ``$`` is a command (a
backslash at its end continues it); what follows is from its output, folded as a terminal would, with an ellipsis (one
character) for what was left out. ``$ echo $?`` shows the exit code of the command before; else that is 0.

When the output of commands has changed for a good reason, ``python -m tests.documents docs/tutorial.md`` writes it into
the document anew. Read what it wrote: the text around it may speak of something else.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from foreshock.harness.cli.main import main

LEFT_OUT = "…"
EXIT_CODE = "echo $?"
FOLD_AT = 100
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_QUOTED = re.compile(
    r"^(  (run|report|again|decide|took|simulated|go on|smaller|shrunk|schedule|replay of) |key \S+: )"
)
"""Lines of a test's outcome that differ from run to run, or say again what the first line says."""
_VALID = re.compile(r"^(✓ VALID .* of )\d+ (operations valid)\n.*", re.DOTALL)
"""What matters of a valid outcome: its figures change with every improvement of the target."""


class Shown(NamedTuple):
    """A command of a document: its arguments after ``foreshock``, the output that is quoted, and its exit code."""

    command: str
    quoted: str
    code: int

    @property
    def arguments(self) -> list[str]:
        """What the command line gets; raises ``ValueError`` when it is no command of ours."""
        program, *arguments = shlex.split(self.command, comments=True)
        if Path(program).name != "foreshock":
            raise ValueError(f"the document shows {self.command!r}, which is no foreshock command")
        return arguments

    @property
    def simulated(self) -> bool:
        """Whether it runs in the simulator, or runs nothing at all."""
        return "test" not in self.arguments[:1] or "--backend sim" in self.command


class Said(NamedTuple):
    """What a command said on stdout, and its exit code."""

    out: str
    code: int


def blocks(document: str, language: str) -> Iterator[str]:
    """The contents of the fenced blocks of a language."""
    for found in _BLOCK.finditer(document):
        if found[1] == language:
            yield found[2]


def commands(document: str) -> Iterator[Shown]:
    """The commands that a document shows, in order."""
    for block in blocks(document, "console"):
        yield from _commands(block)


def _commands(block: str) -> Iterator[Shown]:
    parts = re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)
    if parts[0].strip():
        raise ValueError(f"a console block must begin with a command: {parts[0]!r}")
    waiting: Shown | None = None
    for part in parts[1:]:
        line, _, output = part.partition("\n")
        command = " ".join(line.split())
        if command == EXIT_CODE and waiting is not None:
            yield waiting._replace(code=int(output))
            waiting = None
            continue
        if waiting is not None:
            yield waiting
        waiting = Shown(command, output.strip("\n"), 0)
    if waiting is not None:
        yield waiting


def run(shown: Shown) -> Said:
    """Run a command in this process, in the current folder."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main(shown.arguments)
    return Said(out.getvalue(), code)


def missing(quoted: str, out: str) -> str | None:
    """The first part of a quotation that is not where it should be in the output; ``None`` when all is there."""
    said, at = " ".join(out.split()), 0
    for part in quoted.split(LEFT_OUT):
        wanted = " ".join(part.split())
        found = said.find(wanted, at)
        if found < 0:
            return wanted
        at = found + len(wanted)
    return None


def hold(shown: Shown, otherwise: str = "") -> None:
    """Run a simulated command that a document shows in the current folder, and hold the document to its outcome.

    ``otherwise`` says what to do where the document is to be changed.
    """
    assert shown.simulated
    assert "--seed" in shown.arguments
    said = run(shown)
    now = f"it says now:\n{said.out}\n{otherwise}"
    assert said.code == shown.code, now
    assert missing(shown.quoted, said.out) is None, now


def quotation(out: str) -> str:
    """What a document quotes of an output: no line that differs from run to run, long lines folded."""
    lines: list[str] = []
    for line in _VALID.sub(rf"\1{LEFT_OUT} \2\n{LEFT_OUT}", out).splitlines():
        if _NOT_QUOTED.match(line):
            if lines[-1:] != [LEFT_OUT]:
                lines.append(LEFT_OUT)
        elif len(line) > FOLD_AT:
            lines += textwrap.wrap(line, FOLD_AT, break_long_words=False, break_on_hyphens=False)
        else:
            lines.append(line)
    return "\n".join(line.rstrip() for line in lines)


def refreshed(document: str, said: Callable[[Shown], Said]) -> str:
    """The document with the output of its simulated commands as it is now, in place of what it quotes."""

    def block(found: re.Match[str]) -> str:
        if found[1] != "console":
            return found[0]
        pieces = re.split(r"^(?=\$ )", found[2], flags=re.MULTILINE)
        return "```console\n" + "".join(_pieces(pieces, said)) + "```"

    return _BLOCK.sub(block, document)


def _pieces(pieces: list[str], said: Callable[[Shown], Said]) -> Iterator[str]:
    code: int | None = None
    for piece in pieces:
        if not piece.strip():
            continue
        if piece.startswith(f"$ {EXIT_CODE}"):
            yield piece if code is None else f"$ {EXIT_CODE}\n{code}\n"
            continue
        ((shown),) = _commands(piece)
        if not shown.simulated:
            code = None
            yield piece
            continue
        line = re.match(r"\$ (?:.*\\\n)*.*\n", piece)
        assert line is not None
        now = said(shown)
        code = now.code
        if code not in (0, 1):
            raise ValueError(f"{shown.command} ended with {code}, which no document should show: {now.out}")
        yield line[0] + (quotation(now.out) + "\n" if shown.quoted else "")


def refresh(path: Path) -> None:
    """Write what the commands of a document say now into it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        document = refreshed(path.read_text(), run)
    path.write_text(document)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        refresh(Path(argument).resolve())
