"""What ``foreshock list`` says of the store: its runs and its campaigns, newest first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.broken_pipe import reader_may_leave
from foreshock.harness.cli.common import print_json, relative
from foreshock.harness.store_campaigns import stored_campaigns
from foreshock.harness.store_list import StoredTest, StoreList

SHOWN_MAX = 50


def show_runs(
    store: Path, verdict: str | None, target: str | None, limit: int | None, *, as_json: bool
) -> None:
    """Print the runs of a store that have that verdict (or state) and that target."""
    wanted = (
        test
        for test in StoreList(store).newest()
        if verdict in (None, verdict_or_state(test)) and target in (None, test.summary.target)
    )
    shown = _limited(wanted, limit, as_json=as_json)
    if as_json:
        print_json({"runs": [_document(test) for test in shown]})
        return
    here = f"{Path.cwd()}{os.sep}"  # asked for once, and not for each of ten thousand
    lines = [f"{test.run.removeprefix(here)}  {_line(test)}" for test in shown]
    filtered = "" if verdict is None and target is None else " that match"
    _print(lines or [f"no runs in {store}{filtered}"])


def show_campaigns(store: Path, limit: int | None, *, as_json: bool) -> None:
    """Print the campaigns of a store."""
    shown = _limited(stored_campaigns(store), limit, as_json=as_json)
    if as_json:
        print_json({"campaigns": [msgspec.to_builtins(campaign) for campaign in shown]})
        return
    lines = [
        f"{relative(campaign.directory)}  {campaign.word:9} {campaign.done} of {campaign.planned} tests"
        f"  {campaign.problem or campaign.summary}".rstrip()
        for campaign in shown
    ]
    _print(lines or [f"no campaigns in {store}"])


def verdict_or_state(test: StoredTest) -> str:
    """The verdict of a run that has ended, and the state of one that has none."""
    return test.summary.verdict if test.state == "finished" else test.state


def _print(lines: Iterable[str]) -> None:
    """Lines as plain text: what a foreign store calls its folders cannot speak to the terminal."""
    text = "\n".join(line if line.isprintable() else _printable(line) for line in lines)
    with reader_may_leave():
        sys.stdout.write(text + "\n")


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def _limited(found: Iterable[Any], limit: int | None, *, as_json: bool) -> list[Any]:
    if limit is None:
        limit = 0 if as_json else SHOWN_MAX
    return list(islice(found, limit or None))


def _document(test: StoredTest) -> dict[str, Any]:
    """One run for ``--json``: how it ended, or what its plan says of it."""
    known = msgspec.to_builtins(test.summary)
    more = {key: getattr(test, key) for key in ("phase", "problem") if getattr(test, key)}
    return {"state": test.state, **known, **more, "run": test.run}


def _line(test: StoredTest) -> str:
    known = test.summary
    what = f"{known.target}/{known.workload} seed {known.seed}"
    match test.state:
        case "finished" if test.problem:
            return f"broken   {test.problem}"
        case "finished":
            counts = " ".join(f"{kind} {known.operations.get(kind, 0)}" for kind in ("ok", "fail", "info"))
            return f"{known.verdict:8} {what} {counts}"
        case "running":
            return f"running  {what}{'  ' if test.phase else ''}{test.phase}"
        case "killed":
            return f"killed   {what}  its harness is gone: foreshock analyze decides what was recorded"
    return f"no results: foreshock analyze decides  {what}"
