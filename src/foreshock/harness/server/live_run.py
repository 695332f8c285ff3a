"""Where one test stands, for its page: put together from the files of its run, which are read as they grow."""

from __future__ import annotations

import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.ledger import Fault, read_ledger
from foreshock.harness.live_file import LiveState, read_live
from foreshock.harness.progress import fault_text
from foreshock.harness.server.bounds import NAMES_MAX, bounded_live, clipped
from foreshock.harness.server.live_history import LiveHistory
from foreshock.harness.store import FAULTS, HISTORY, TEST
from foreshock.harness.store_list import StoredTest, read_small, stored_test

FAULTS_SHOWN_MAX: Final = 200
LEDGER_BYTES_MAX: Final = 16 << 20
_SECOND_NS: Final = 1_000_000_000


class LiveRun:
    """One run that is looked at. :meth:`advance` reads what is new; ``whole`` and ``changes`` say what is known."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._history = LiveHistory(run / HISTORY)
        self._live: LiveState | None = None
        self._test: StoredTest | None = None
        self._plan: Mapping[str, Any] = {}
        self._simulated = False
        self._shades: dict[str, str] = {}
        self._plan_stamp: tuple[int, int] | None = None
        self._faults: tuple[Fault, ...] = ()
        self._ledger_stamp: tuple[int, int] | None = None
        self._ledger_problem = ""
        self._seen_ns = 0
        self._seen_at_s = time.monotonic()

    @property
    def state(self) -> str:
        """``running``, ``killed``, ``unfinished``; ``finished`` when results and report are there."""
        if self._test is None:
            return "unfinished"
        # The results are there a little before the report: until the harness lets go, the test is not over.
        if self._test.state == "finished" and self._live is not None and _lives(self._live):
            return "running"
        return self._test.state

    def advance(self) -> bool:
        """Read what has been written since; true when there is more of it. Blocks for a moment: call it in a thread."""
        self._test = stored_test(self.run)
        live = read_live(self.run)
        self._live = None if live is None else bounded_live(live)
        self._read_plan()
        self._read_ledger()
        more = self._history.advance()
        if self._history.last_ns != self._seen_ns:
            self._seen_ns, self._seen_at_s = self._history.last_ns, time.monotonic()
        return more

    def whole(self) -> dict[str, Any]:
        """All that is known."""
        return self._document(self._history.timeline.whole())

    def changes(self) -> dict[str, Any]:
        """As :meth:`whole`, but of the course of time only what has changed since the last call."""
        return self._document(self._history.timeline.changes())

    def _document(self, timeline: Mapping[str, Any]) -> dict[str, Any]:
        live = self._live if self.state == "running" else None
        snapshot = live.snapshot if live is not None else None
        history = self._history
        summary = self._test.summary if self._test is not None else None
        nodes = dict(snapshot.nodes) if snapshot is not None else {}
        return {
            "state": self.state,
            "phase": live.phase if live is not None else "",
            "step": snapshot.phase if snapshot is not None else "",
            "elapsed_s": round(snapshot.elapsed_s, 1) if snapshot is not None else None,
            "limit_s": snapshot.time_limit_s if snapshot is not None else None,
            "pid": self._live.pid if self._live is not None else None,
            "silent_s": round(max(time.time() - live.written, 0), 1) if live is not None else None,
            "simulated": self._simulated,
            "counts": history.counts,
            "under_way": history.under_way,
            "unreadable": history.unreadable,
            "waiting_bytes": history.waiting_bytes,
            "rate": round(snapshot.rate, 1) if snapshot is not None else None,
            "p50_ms": round(snapshot.p50_ms, 3) if snapshot is not None else None,
            "p99_ms": round(snapshot.p99_ms, 3) if snapshot is not None else None,
            "now_s": round(self._now_ns() / _SECOND_NS, 3),
            "timeline": timeline,
            "faults": [_fault(fault, self._now_ns()) for fault in _shown(self._faults)],
            "faults_total": len(self._faults),
            "ledger_problem": self._ledger_problem,
            "shades": self._shades,
            "nodes": nodes or dict.fromkeys(self._node_names(), ""),
            "completions": history.latest_completions(),
            "problems": history.latest_problems(),
            "verdict": summary.verdict if summary is not None and self.state == "finished" else "",
            "reason": clipped(summary.reason) if summary is not None else "",
        }

    def _now_ns(self) -> int:
        """The time of the test by now: while it runs and nothing is recorded, time goes on all the same."""
        known = [fault.planned_ns for fault in self._faults[-1:]]
        known += [fault.healed_ns for fault in self._faults if fault.healed_ns is not None]
        latest = max([self._history.last_ns, *known])
        if self.state != "running" or self._simulated or self._history.waiting_bytes or not latest:
            return latest
        waited_ns = int((time.monotonic() - self._seen_at_s) * _SECOND_NS)
        return max(latest, self._seen_ns + waited_ns)

    def _node_names(self) -> list[str]:
        nodes = self._plan.get("nodes")
        return [clipped(str(node)) for node in nodes[:NAMES_MAX]] if isinstance(nodes, list) else []

    def _read_plan(self) -> None:
        stamp = _stamp(self.run / TEST)
        if stamp is None or stamp == self._plan_stamp:
            return
        self._plan_stamp = stamp
        try:
            document = msgspec.json.decode(read_small(str(self.run / TEST)) or b"{}", type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            return  # what a page can say without it, it says
        plan, shades = document.get("plan"), document.get("shades")
        self._plan = plan if isinstance(plan, dict) else {}
        self._simulated = document.get("simulated") is True
        self._shades = {
            str(shade.get("name")): str(shade.get("color"))
            for shade in (shades if isinstance(shades, list) else [])
            if isinstance(shade, dict)
        }

    def _read_ledger(self) -> None:
        stamp = _stamp(self.run / FAULTS)
        if stamp is None or stamp == self._ledger_stamp:
            return
        self._ledger_stamp = stamp
        if stamp[0] > LEDGER_BYTES_MAX:
            self._ledger_problem = f"{FAULTS} is too large to be shown"
            return
        try:
            self._faults, self._ledger_problem = read_ledger(self.run / FAULTS), ""
        except (HarnessError, OSError, RecursionError) as error:
            self._ledger_problem = clipped(str(error))


def _lives(live: LiveState) -> bool:
    from foreshock.harness.backends.process_identity import alive

    return live.harness is not None and alive(live.harness) is True


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_size, found.st_mtime_ns


def _shown(faults: tuple[Fault, ...]) -> list[Fault]:
    """Those that are still open, and as many of the others as a page can show, oldest first."""
    others = [fault for fault in faults if not fault.is_open][-FAULTS_SHOWN_MAX:]
    kept = [fault for fault in faults if fault.is_open][-FAULTS_SHOWN_MAX:]
    return sorted([*others, *kept], key=lambda fault: fault.planned_ns)


def _fault(fault: Fault, now_ns: int) -> dict[str, Any]:
    """One fault: from when to when it was in force, in seconds of the test, and how it stands."""
    begin_ns = fault.planned_ns if fault.verified_ns is None else fault.verified_ns
    end_ns: int | None = None
    if fault.healed_ns is not None:
        state, end_ns = "healed", fault.healed_ns
    elif fault.failed_ns is not None:
        state, end_ns = "failed", fault.failed_ns if fault.verified_ns is None else None
    elif fault.healed_later:
        state = "healed"
    else:
        state = "in force" if fault.verified_ns is not None else "planned"
    return {
        "id": fault.id,
        "kind": clipped(fault.kind),
        "what": clipped(fault_text(fault, now_ns).rpartition(" (")[0]),
        "nodes": [clipped(node) for node in fault.nodes[:NAMES_MAX]],
        "from_s": round(begin_ns / _SECOND_NS, 3),
        "to_s": None if end_ns is None else round(end_ns / _SECOND_NS, 3),
        "state": state,
    }
