"""Histories that other projects published, with known verdicts: those of etcd, of a key-value store, of Knossos."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.checking.figures import Findings, ratio, title
from benchmarks.checking.ours import check, check_command, check_command_often, whole_command_s
from benchmarks.checking.peer import Peer
from foreshock.checkers import engines
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.formats.reading import read_history
from foreshock.harness.verdict import Verdict

COPIES: Final = 10
RUNS: Final = 5
SEARCH_RATIO_AIM: Final = 20.0
KV_AIM_S: Final = 1.0
KV_DEADLINE_S: Final = 15.0
KNOSSOS_AIM_S: Final = 0.3
MEMORY_BYTES: Final = 2 << 30


def measure(folder: Path, peer: Peer | None, findings: Findings) -> None:
    """All tables of published histories."""
    verdicts = json.loads((folder / "verdicts.json").read_text())
    _etcd(folder, verdicts, peer, findings)
    began = time.perf_counter()
    engines.load()
    print(f"\nloading the compiled search, once a process, takes {time.perf_counter() - began:.2f} s")
    for name in ("c10-ok", "c10-bad", "c50-ok", "c50-bad"):
        _kv(folder / "kv" / f"{name}.txt", verdicts[f"kv/{name}.txt"], peer, findings)
    _knossos(folder, verdicts, findings)


def _etcd(folder: Path, verdicts: dict[str, bool], peer: Peer | None, findings: Findings) -> None:
    files = [path for path in sorted((folder / "etcd").glob("etcd_*.log")) if int(path.stem[-3:]) % 2 == 0]
    title(f"etcd: the {len(files)} even logs, compare-and-set register")
    one = check_command_often("cas-register", files, times=RUNS)
    ten_s = whole_command_s("cas-register", files * COPIES, times=3)
    for file, verdict in zip(files, one.verdicts(), strict=True):
        findings.verdict(f"etcd/{file.name}", verdict, _word(verdicts[f"etcd/{file.name}"]))
    print(f"{'':34} {'ours s':>9} {'peer s':>9} {'ratio':>8}")
    if peer is None:
        print(f"{'search':34} {one.search_s:>9.4f}\n{f'whole, {COPIES} copies of the set':34} {ten_s:>9.3f}")
        return
    for processors in (None, 1):
        runs = [peer.search("etcd", files, processors=processors) for _ in range(RUNS)]
        if processors is None:
            for row in runs[0]:
                name = f"etcd/{Path(row['file']).name}"
                findings.verdict(f"the peer, {name}", row["verdict"], _word(verdicts[name]))
        peer_s = sorted(sum(row["seconds"] for row in rows) for rows in runs)[RUNS // 2]
        what = "search" if processors is None else "search, peer on one processor"
        print(f"{what:34} {one.search_s:>9.4f} {peer_s:>9.4f} {ratio(peer_s, one.search_s):>8}")
        if processors is None:
            search_ratio = peer_s / one.search_s
    whole_s = sorted(peer.whole([path.stem[-3:] for path in files], COPIES) for _ in range(3))[1]
    what = f"whole, {COPIES} copies of the set"
    print(f"{what:34} {ten_s:>9.3f} {whole_s:>9.3f} {ratio(whole_s, ten_s):>8}")
    reached = findings.aim(
        f"etcd search {SEARCH_RATIO_AIM:.0f} x the peer's", search_ratio >= SEARCH_RATIO_AIM
    )
    print(f"aim: search at least {SEARCH_RATIO_AIM:.0f} x the peer's: {reached}")
    reached = findings.aim("etcd whole command faster than the peer's", ten_s < whole_s)
    print(f"aim: the whole command faster than the peer's test binary: {reached}")


def _kv(file: Path, legal: bool, peer: Peer | None, findings: Findings) -> None:
    title(f"kv {file.stem}: every key by itself, {KV_DEADLINE_S:.0f} s for each")
    theirs: dict[str, dict[str, Any]] = {}
    if peer is not None:
        theirs = {row["key"]: row for row in peer.search("kv", [file], timeout_s=KV_DEADLINE_S)}
    checker = LinearizableChecker("kv")
    print(
        f"{'key':>5} {'operations':>10} {'ours':>8} {'s':>9} {'explained s':>11} {'peer':>8} {'s':>9}  method"
    )
    total_s = peer_s = 0.0
    undecided, worst = [], Verdict.VALID
    for key, history in sorted(
        read_history(file, "auto").clients().by_key().items(), key=lambda item: str(item[0])
    ):
        result, took_s = check(checker, history, deadline_s=KV_DEADLINE_S, memory_bytes=MEMORY_BYTES)
        decided_s = result.details["decided_s"]
        total_s += decided_s
        worst = Verdict.worst((worst, result.verdict))
        if result.verdict is Verdict.UNKNOWN:
            undecided.append(key)
        row = theirs.get(str(key), {"verdict": "-", "seconds": 0.0})
        peer_s += row["seconds"]
        if {row["verdict"], result.verdict.word} == {"valid", "invalid"}:
            findings.wrong.append(
                f"kv {file.stem}, key {key}: ours {result.verdict.word}, the peer's {row['verdict']}"
            )
        print(
            f"{key!s:>5} {len(history):>10} {result.verdict.word:>8} {decided_s:>9.4f} {took_s:>11.4f} "
            f"{row['verdict']:>8} {row['seconds']:>9.4f}  {result.method}"
        )
    findings.verdict(f"kv/{file.name}", worst.word, _word(legal), *(["unknown"] if undecided else []))
    print(
        f"{'all':>5} {'':>10} {'':>8} {total_s:>9.4f} {'':>11} {'':>8} {peer_s:>9.4f}  {ratio(peer_s, total_s)}"
    )
    left = f"; undecided: {', '.join(map(str, undecided))}" if undecided else ""
    reached = findings.aim(
        f"kv {file.stem} decided in {KV_AIM_S:.0f} s", total_s < KV_AIM_S and not undecided
    )
    print(f"aim: every key decided, in under {KV_AIM_S:.0f} s of search: {reached}{left}")


def _knossos(folder: Path, verdicts: dict[str, bool], findings: Findings) -> None:
    files = sorted((folder / "knossos").glob("*.edn"))
    title(
        f"Knossos: its {len(files)} files (its own competition checker takes about 3 s: told, not run here)"
    )
    search_s = whole_s = 0.0
    slowest: list[tuple[float, str]] = []
    for model in ("cas-register", "mutex"):
        chosen = [path for path in files if path.name.startswith(f"{model}__")]
        run = (
            check_command_often(model, chosen, times=3)
            if model == "cas-register"
            else check_command(model, chosen)
        )
        search_s, whole_s = search_s + run.search_s, whole_s + run.whole_s
        for file, history in zip(chosen, run.document["histories"], strict=True):
            name = f"knossos/{file.name}"
            findings.verdict(name, history["verdict"], _word(verdicts[name]))
            slowest.append((history.get("seconds", 0.0), file.name))
    print(f"search {search_s:.4f} s, both commands whole {whole_s:.3f} s; the slowest:")
    for seconds, name in sorted(slowest, reverse=True)[:3]:
        print(f"  {seconds:.4f} s  {name}")
    reached = findings.aim(f"the Knossos files in {KNOSSOS_AIM_S} s", search_s < KNOSSOS_AIM_S)
    print(f"aim: all right, in under {KNOSSOS_AIM_S} s of search: {reached}")


def _word(legal: bool) -> str:
    return "valid" if legal else "invalid"
