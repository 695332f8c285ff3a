"""What was stored, as pandas DataFrames: the tests of a store or of a campaign, the operations and the faults of a run.

``foreshock.load("store")`` has one row a test. Its columns:

* what was tested: ``target``, ``workload``, ``nemeses``, ``backend``, ``bug`` (categorical), ``seed``;
* how it ended: ``verdict`` (categorical, ordered from valid to invalid; missing where there are no results),
  ``exit``, ``state``, ``reason``, ``checker``, ``core``, ``impossible``, ``faults_in_force``, ``harness_errors``,
  ``interrupted``, ``complete``;
* figures: ``operations_ok``, ``operations_fail``, ``operations_info``, ``faults`` and one ``faults_KIND`` for each kind
  that comes up, ``duration_s``, and ``figure_NAME`` for each figure of the targets that is a number;
* where and when: ``started`` (UTC), ``run`` (the folder), ``replay`` (the command that runs it again).

Of a campaign there is one row an attempt, and in addition ``campaign``, ``key``, ``attempt``, ``outcome``, ``worker``,
``seconds`` on the wall, ``error``, and a column for each further dimension of the matrix (``checkers`` for that of
``checker``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foreshock.harness.campaign.document import (
    CAMPAIGN,
    CAMPAIGNS,
    Attempt,
    CampaignDocument,
    CampaignRow,
    read_campaign,
)
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History
from foreshock.harness.ledger import read_ledger
from foreshock.harness.store import FAULTS, HISTORY, HISTORY_PARQUET, TEST, Store
from foreshock.harness.store_list import StoredTest, StoreList, stored_test
from foreshock.harness.summary import TestSummary
from foreshock.harness.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES: Final = (
    *("target", "workload", "nemeses", "backend", "bug", "state", "checker", "core", "impossible"),
    *("faults_in_force", "campaign", "outcome", "worker"),
)
_FIRST: Final = (
    *("campaign", "key", "attempt", "outcome", "target", "workload", "nemeses", "backend", "bug", "seed"),
    *("verdict", "exit", "state", "reason", "checker", "core", "impossible", "faults_in_force"),
    *("operations_ok", "operations_fail", "operations_info", "faults"),
)
_LAST: Final = (
    *("harness_errors", "error", "interrupted", "complete", "started", "duration_s", "seconds", "worker"),
    *("run", "replay"),
)
_OF_CAMPAIGNS: Final = ("campaign", "key", "attempt", "outcome", "error", "seconds", "worker")
_IN_CELL: Final = ("target", "workload", "nemesis", "backend", "bug")
"""The dimensions of a matrix that every test has a column for anyway."""


def load(source: str | Path = "store", *, store: str | Path = "store") -> pd.DataFrame:
    """The tests of a store, of a campaign or of one run, one row each; see the module's text for the columns.

    ``source`` is a store's folder, a campaign's (or the one above it, which holds every campaign of that name), a
    run's, or ``latest``: the newest run in ``store``. Raises :class:`UsageError` when it is none of these, and
    :class:`HarnessError` when a campaign's document cannot be understood.
    """
    folder = _folder(source, Path(store))
    if (folder / CAMPAIGN).is_file():
        return _frame(_rows_of_campaign(read_campaign(folder)), campaigns=True)
    campaigns = sorted(path.parent for path in folder.glob(f"*/{CAMPAIGN}"))
    if campaigns:
        return _frame(
            [row for each in campaigns for row in _rows_of_campaign(read_campaign(each))], campaigns=True
        )
    if (folder / TEST).is_file():
        test = stored_test(folder)
        return _frame([] if test is None else [_row_of_test(test)])
    tests = StoreList(folder).tests()
    if not tests and not _is_store(folder):
        raise UsageError(
            f"there is nothing to load in {str(source)!r}: give a store's folder, a campaign's, a run's, or 'latest'"
        )
    return _frame([_row_of_test(test) for test in tests])


def load_history(
    run: str | Path = "latest", *, store: str | Path = "store", nemesis: bool = False
) -> pd.DataFrame:
    """The operations of a run, one row each, in the order of their invocation.

    The columns are those of :attr:`foreshock.harness.History.frame`, and ``time_s`` (when it was invoked, in s since
    the start), ``latency_ms`` (missing where it never completed) and ``faults`` (categorical: the kinds of fault in
    force when it was invoked, joined by ``+``; empty for none). With ``nemesis`` its operations are there, too.

    Raises :class:`UsageError` when there is no such run, or its history is broken.
    """
    folder = Store(Path(store)).find(str(run))
    history = _history(folder)
    frame = (history if nemesis else history.clients()).frame
    latency_ms = (frame["complete_ns"] - frame["invoke_ns"]) / 1e6
    frame["time_s"] = frame["invoke_ns"] / 1e9
    frame["latency_ms"] = latency_ms.where(frame["complete_ns"] >= 0)
    frame["faults"] = _faults_at(load_faults(folder), frame["invoke_ns"])
    return frame


def load_faults(run: str | Path = "latest", *, store: str | Path = "store") -> pd.DataFrame:
    """The faults of a run, one row each: ``kind``, ``nodes``, when it was ``planned_s``, ``verified_s``, ``healed_s``
    (in s since the start; missing where that never came), and the ``failure``, where it did not take."""
    import pandas as pd

    folder = Store(Path(store)).find(str(run))
    faults = read_ledger(folder / FAULTS)
    times = {
        f"{name}_s": pd.array(
            [None if (at := getattr(fault, f"{name}_ns")) is None else at / 1e9 for fault in faults],
            dtype="Float64",
        )
        for name in ("planned", "verified", "healed")
    }
    return pd.DataFrame(
        {
            "kind": pd.Categorical([fault.kind for fault in faults]),
            "nodes": pd.Series([", ".join(fault.nodes) for fault in faults], dtype="string"),
            **times,
            "failure": pd.Series([fault.failure for fault in faults], dtype="string"),
        }
    )


def _folder(source: str | Path, store: Path) -> Path:
    if not isinstance(source, str | Path) or not str(source):
        raise UsageError(
            f"{source!r} names nothing: give a store's folder, a campaign's, a run's, or 'latest'"
        )
    if str(source) == "latest":
        return Store(store).find("latest")
    folder = Path(source)
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise UsageError(f"{str(source)!r} {what}: give a store's folder, a campaign's, a run's, or 'latest'")
    return folder.absolute()


def _is_store(folder: Path) -> bool:
    """Whether it is a store in which nothing was run yet, or nothing but campaigns without a test."""
    return not any(folder.iterdir()) or (folder / CAMPAIGNS).is_dir()


def _history(folder: Path) -> History:
    """A run's history from its lines, or from the table where a copied run holds only that."""
    lines = folder / HISTORY
    return History.read(
        lines if lines.is_file() or not (folder / HISTORY_PARQUET).is_file() else folder / HISTORY_PARQUET
    )


def _row_of_test(test: StoredTest) -> dict[str, Any]:
    row = _row(test.summary, test.run)
    row["state"] = test.state
    if test.state != "finished":
        row |= {"verdict": None, "exit": None, "reason": test.problem or None}
    return row


def _rows_of_campaign(document: CampaignDocument) -> Iterator[dict[str, Any]]:
    for row in document.rows:
        axes = {_column_of(name): value for name, value in row.cell.items() if name not in _IN_CELL}
        for attempt in row.attempts or (None,):
            yield {**_row_of_attempt(row, attempt), **axes, "campaign": document.name, "key": row.key}


def _column_of(axis: str) -> str:
    """The column of a further dimension; ``checker`` is who judged a test invalid, and so its checkers are another."""
    return "checkers" if axis == "checker" else axis.replace("-", "_")


def _row_of_attempt(row: CampaignRow, attempt: Attempt | None) -> dict[str, Any]:
    place: dict[str, Any] = {
        "target": row.cell.get("target"),
        "workload": row.cell.get("workload"),
        "nemeses": row.cell.get("nemesis"),
        "backend": row.cell.get("backend"),
        "bug": row.cell.get("bug"),
        "seed": row.seed,
        "outcome": row.outcome,
        "state": "waiting" if attempt is None else "lost",
    }
    if attempt is None:
        return place
    place |= {
        "attempt": attempt.number,
        "worker": attempt.worker or None,
        "seconds": attempt.seconds,
        "error": attempt.error or None,
    }
    if attempt.summary is None:
        return place
    return {**place, **_row(attempt.summary, attempt.summary.run), "state": "finished"}


def _row(summary: TestSummary, run: str) -> dict[str, Any]:
    return {
        "target": summary.target,
        "workload": summary.workload,
        "nemeses": ",".join(summary.nemeses) or "none",
        "backend": summary.backend,
        "bug": summary.bug,
        "seed": summary.seed,
        "verdict": summary.verdict,
        "exit": summary.exit,
        "reason": summary.reason,
        "checker": summary.checker or None,
        "core": ", ".join(summary.core) or None,
        "impossible": summary.impossible or None,
        "faults_in_force": ", ".join(summary.faults_in_force) or None,
        **{f"operations_{kind}": summary.operations.get(kind, 0) for kind in ("ok", "fail", "info")},
        "faults": sum(summary.faults.values()),
        **{f"faults_{kind.replace('-', '_')}": count for kind, count in summary.faults.items()},
        **{f"figure_{name}": value for name, value in _numbers(summary.figures)},
        "harness_errors": "; ".join(summary.harness_errors) or None,
        "interrupted": summary.interrupted,
        "complete": summary.complete,
        "started": summary.started or None,
        "duration_s": summary.duration_s,
        "run": run or None,
        "replay": summary.replay or None,
    }


def _numbers(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield str(name).replace("-", "_"), value


def _frame(
    rows: Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]], *, campaigns: bool = False
) -> pd.DataFrame:
    """A frame whose columns have the types that they always have, whatever the rows hold."""
    import pandas as pd

    rows = list(rows)
    always = [name for name in (*_FIRST, *_LAST) if campaigns or name not in _OF_CAMPAIGNS]
    seen = dict.fromkeys(name for row in rows for name in row if name not in always)
    first = [name for name in always if name in _FIRST]
    columns = [*first, *sorted(seen), *(name for name in always if name in _LAST)]
    return pd.DataFrame({name: _column(name, [_value(row.get(name)) for row in rows]) for name in columns})


def _value(value: Any) -> Any:
    """The value; of a name that is no UTF-8 on disk, which no column of texts takes, what can be written."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def _column(name: str, values: list[Any]) -> Any:
    import pandas as pd

    if name == "verdict":
        words = [verdict.word for verdict in Verdict]
        return pd.Categorical([value or None for value in values], categories=words, ordered=True)
    if name == "started":
        texts = pd.Series(values, dtype="object")
        times = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
        return times.astype("datetime64[us, UTC]")  # else in a unit that depends on what is there
    if name in CATEGORIES:
        return pd.Categorical(values)
    if name in ("seed", "attempt", "exit", "faults") or name.startswith("operations_"):
        return pd.array(values, dtype="Int64")
    if name.startswith("faults_"):
        return pd.array([0 if value is None else value for value in values], dtype="Int64")
    if name in ("duration_s", "seconds") or name.startswith("figure_"):
        return pd.array(values, dtype="Float64")
    if name in ("interrupted", "complete"):
        return pd.array(values, dtype="boolean")
    text = pd.Series(values, dtype="string")
    if name in (*_FIRST, *_LAST):
        return text
    # A further dimension of the matrix: numbers where all its values are.
    numbers = pd.to_numeric(text, errors="coerce")
    return numbers if bool((numbers.notna() == text.notna()).all()) else pd.Categorical(text)


def _faults_at(faults: pd.DataFrame, moments_ns: pd.Series[int]) -> Any:
    """The kinds in force at each moment: one sweep over the beginnings and ends of the faults."""
    import numpy as np
    import pandas as pd

    taken = faults[faults["verified_s"].notna()]
    begins = taken["planned_s"].to_numpy(float)
    ends = taken["healed_s"].fillna(np.inf).to_numpy(float)
    edges = np.unique(np.concatenate((begins, ends)))
    words = [""]
    for edge in edges:
        in_force = sorted(set(taken["kind"][(begins <= edge) & (edge < ends)]))
        words.append("+".join(map(str, in_force)))
    where = np.searchsorted(edges, moments_ns.to_numpy() / 1e9, side="right")
    labels = sorted(set(words))
    codes = np.array([labels.index(word) for word in words])
    return pd.Categorical.from_codes(codes[where], pd.Index(labels))
