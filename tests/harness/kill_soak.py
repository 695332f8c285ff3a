"""A harness killed (SIGKILL) at random moments of its life: heal and clean leave nothing, analyze reads every run.

``python -m tests.harness.kill_soak --count 200`` (``make soak``) draws tests and moments from a seed: the moments are
uniform over the life of a test, from before its plan is written to after its teardown. Prints a line a trial and a
table of moments and outcomes; exits with 1 when anything was left, could not be healed, or could not be read.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.harness import traces
from tests.harness.forked import Forked

from foreshock.harness.errors import ForeshockError
from foreshock.harness.plan import resolve
from foreshock.harness.registry import Kind, names
from foreshock.harness.request import Request

COMMAND_TIMEOUT_S: Final = 240.0
GRACE_S: Final = 5.0
"""So long may something that ends by itself when its harness is gone take to do so."""
ATTEMPTS_MAX: Final = 6
"""So often is a moment drawn again when the test had ended before it."""
BEFORE_FOLDER_ONE_IN: Final = 16
"""One in so many is killed while its modules are still imported, when there is nothing of it yet."""
START_TIMEOUT_S: Final = 120.0
START, LIFE = "start", "life"
NO_ENGINE: Final = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
"""Trials without containers do not look at an engine that others use too."""

SUBJECTS: Final = (("raft", "lock"), ("raft", "register"), ("zab", "register"), ("tcp-lock", "lock"))
RECOVERIES: Final = (
    "heal, clean",
    "heal, clean",
    "clean, heal",
    "heal killed, heal, clean",
    "two heals, clean",
)
PHASES: Final = (
    ("before the run's folder", None),
    ("before the plan", None),
    ("deploying", "deploying"),
    ("running", "running"),
    ("healing", "healing"),
    ("recovery", "waiting for recovery"),
    ("final phase", "final phase"),
    ("teardown", "fetching logs and tearing down"),
    ("checking", "checking"),
)
"""The phases of a test, and what its log says when each begins."""


@dataclass(frozen=True)
class Trial:
    """One test to kill, drawn from the seed."""

    number: int
    backend: str
    target: str
    workload: str
    nemeses: tuple[str, ...]
    seed: int
    moment: float
    """The part of a test's life after which it is killed, counted from when its folder is made; below 0: that part
    of its start before that."""
    recovery: str


@dataclass
class Outcome:
    """What became of it."""

    trial: Trial
    killed_after_s: float = 0.0
    phase: str = ""
    planned: int = 0
    open_kinds: tuple[str, ...] = ()
    left: int = 0
    """How many things the killed harness left."""
    analyzed: str = ""
    problems: list[str] = field(default_factory=list)


class Lives:
    """How long a test on each backend lives; learnt from those that ended by themselves."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def note(self, backend: str, part: str, seconds: float) -> None:
        self._seconds.setdefault(f"{backend} {part}", []).append(seconds)

    def expected_s(self, backend: str, part: str) -> float:
        known = sorted(self._seconds[f"{backend} {part}"][-5:])
        return known[len(known) // 2]


def offered(backend: str, target: str, workload: str) -> tuple[str, ...]:
    """Every nemesis that the backend and the target can carry."""
    found = []
    for nemesis in names(Kind.NEMESES):
        try:
            resolve(Request(backend=backend, target=target, workload=workload, nemesis=nemesis, nodes="3"))
        except ForeshockError:
            continue
        found.append(nemesis)
    return tuple(found)


def draw(number: int, seed: int, backends: Sequence[str]) -> Trial:
    """The trial of that number; a third has one nemesis, a third some, a third all that are offered."""
    rng = random.Random(f"{seed}/{number}")
    backend = rng.choice(backends)
    target, workload = rng.choice(SUBJECTS)
    every = offered(backend, target, workload)
    some = rng.choice((1, min(3, len(every)), len(every)))
    return Trial(
        number=number,
        backend=backend,
        target=target,
        workload=workload,
        nemeses=tuple(sorted(rng.sample(every, some))),
        seed=rng.randrange(1 << 31),
        moment=-rng.random() if rng.randrange(BEFORE_FOLDER_ONE_IN) == 0 else rng.random(),
        recovery=rng.choice(RECOVERIES),
    )


class Stage:
    """Where one trial happens: a store and a state directory of its own, and the commands that are given there."""

    def __init__(self, trial: Trial, folder: Path, time_limit_s: float) -> None:
        self.trial = trial
        self.folder = folder
        self.store = folder / "store"
        self.state = folder / "state"
        self.mark = f"{os.getpid()}-{trial.number}-{folder.name}"
        self.time_limit_s = time_limit_s
        engine = {} if trial.backend == "docker" else NO_ENGINE
        self.environment = {**os.environ, **engine, "XDG_STATE_HOME": str(self.state), traces.MARK: self.mark}

    def test(self) -> Forked:
        trial = self.trial
        arguments = {
            "--target": trial.target,
            "--workload": trial.workload,
            "--nemesis": ",".join(trial.nemeses) or "none",
            "--backend": trial.backend,
            "--seed": str(trial.seed),
            "--nodes": "3",
            "--interval": "0.3",
            "--time-limit": f"{self.time_limit_s:g}",
            "--recovery-time": "3",
            "--operation-timeout-ms": "1000",
            "--store": str(self.store),
        }
        words = [word for pair in arguments.items() for word in pair]
        return Forked(["test", *words], self.environment, self.folder)

    def start(self, *arguments: str) -> Forked:
        environment = {key: value for key, value in self.environment.items() if key != traces.MARK}
        return Forked([*arguments], environment, self.folder)

    def run(self) -> Path | None:
        """The folder of the run; ``None`` while there is none."""
        found = [path for path in self.store.glob("*/*") if path.is_dir() and path.parent.name != "latest"]
        return found[0] if found else None

    def wait_for_folder(self, process: Forked) -> float:
        """Until the run has its folder; how long that took."""
        began = time.monotonic()
        while self.run() is None and process.poll() is None:
            if time.monotonic() - began > START_TIMEOUT_S:
                raise RuntimeError(f"the test {self.trial} did not begin within {START_TIMEOUT_S:g} s")
            time.sleep(0.002)
        return time.monotonic() - began

    def phase(self, run: Path | None) -> str:
        """The last phase that the log tells of."""
        if run is None:
            return "before the run's folder"
        if not (run / "test.json").exists():
            return "before the plan"
        log = (run / "harness.log").read_text(errors="replace") if (run / "harness.log").exists() else ""
        begun = [name for name, says in PHASES if says is not None and f"INFO foreshock: {says}" in log]
        if "teardown" in begun and (run / "results.json").exists():
            return "checking"
        return begun[-1] if begun else "deploying"


def finished(command: Forked, what: str) -> list[str]:
    """What is wrong with how a command ended that should have ended well."""
    try:
        code, out, err = command.finish(COMMAND_TIMEOUT_S)
    except TimeoutError:
        return [f"{what} did not end within {COMMAND_TIMEOUT_S:g} s"]
    if "Traceback" in out + err:
        return [f"{what} shows a traceback: {(out + err)[-2000:]}"]
    return [f"{what} ended with {code}: {' | '.join(err.splitlines())[-1000:]}"] if code else []


def recover(stage: Stage, run: Path) -> list[str]:
    """Heal and clean, in the order and with the mishaps that the trial has."""
    problems = []
    rng = random.Random(stage.trial.seed)
    for step in stage.trial.recovery.split(", "):
        if step == "heal killed":
            dying = stage.start("heal")
            time.sleep(rng.uniform(0.0, 0.5))
            dying.kill()
        elif step == "two heals":
            both = [stage.start("heal"), stage.start("heal", str(run))]
            for number, heal in enumerate(both):
                problems += finished(heal, f"heal {number} of two")
        elif step == "heal":
            cleaned = stage.trial.recovery.startswith("clean")
            problems += finished(stage.start("heal", *([str(run)] if cleaned else [])), "heal")
        else:
            problems += finished(stage.start("clean", str(run)), "clean")
    return problems


def analyzed(stage: Stage, run: Path, phase: str) -> tuple[str, list[str]]:
    """What ``analyze`` says of the run, in a word, and what is wrong with that."""
    report = [] if stage.trial.number % 4 == 0 else ["--no-report"]
    command = stage.start("analyze", str(run), "-q", *report)
    try:
        code, out, err = command.finish(COMMAND_TIMEOUT_S)
    except TimeoutError:
        return "late", [f"analyze did not end within {COMMAND_TIMEOUT_S:g} s"]
    if "Traceback" in out + err:
        return "traceback", [f"analyze shows a traceback: {(out + err)[-2000:]}"]
    if phase == "before the plan":
        said = code == 4 and "killed before its plan was written" in err
        return "no plan", [] if said else [f"analyze says of a run without a plan: {code} {err}"]
    words = {0: "valid", 1: "invalid", 2: "unknown"}
    if code not in words:
        return "unread", [f"analyze ended with {code}: {err[-1000:]}{out[-1000:]}"]
    return words[code], []


def attempt(trial: Trial, folder: Path, lives: Lives, time_limit_s: float, moment: float) -> Outcome | None:
    """Run the test, kill it, recover; ``None`` when it had ended before its moment came."""
    stage = Stage(trial, folder, time_limit_s)
    outcome = Outcome(trial)
    process = stage.test()
    began = time.monotonic()
    if moment < 0:
        wait_s = -moment * lives.expected_s(trial.backend, START)
    else:
        lives.note(trial.backend, START, stage.wait_for_folder(process))
        began = time.monotonic()
        wait_s = moment * lives.expected_s(trial.backend, LIFE)
    try:
        process.wait(wait_s)
    except TimeoutError:
        process.kill()
    else:
        lives.note(trial.backend, LIFE, time.monotonic() - began)
        return None
    outcome.killed_after_s = time.monotonic() - began
    engine = trial.backend == "docker"
    run = stage.run()
    outcome.phase = stage.phase(run)
    place = run or folder / "no-run"

    def look() -> list[str]:
        return traces.left_behind(place, stage.state, stage.mark, engine=engine)

    outcome.left = len(look())
    faults = traces.faults_of(place)
    outcome.planned = len(faults)
    outcome.open_kinds = tuple(sorted({str(fault["kind"]) for fault in faults if fault["open"]}))
    if run is not None:
        outcome.problems += recover(stage, run)
        outcome.analyzed, unread = analyzed(stage, run, outcome.phase)
        outcome.problems += unread
    outcome.problems += [f"left: {what}" for what in traces.gone(look, GRACE_S)]
    still = [str(fault["kind"]) for fault in traces.faults_of(place) if fault["open"]]
    if still:
        outcome.problems.append(f"faults are open after heal: {', '.join(still)}")
    return outcome


def conduct(trial: Trial, root: Path, lives: Lives, time_limit_s: float) -> Outcome:
    """One trial to its end; a moment that came too late is drawn again, within what the test lived."""
    moment = trial.moment
    for number in range(ATTEMPTS_MAX):
        folder = root / f"{trial.number:03}-{number}"
        folder.mkdir(parents=True)
        outcome = attempt(trial, folder, lives, time_limit_s, moment)
        if outcome is None:
            moment *= 0.9
            shutil.rmtree(folder)
            continue
        if not outcome.problems:
            shutil.rmtree(folder)
        return outcome
    return Outcome(trial, problems=[f"the test ended {ATTEMPTS_MAX} times before it was killed"])


def calibrate(backends: Sequence[str], root: Path, lives: Lives, time_limit_s: float, seed: int) -> None:
    """Let one test a backend live to its end."""
    for number, backend in enumerate(sorted(set(backends))):
        trial = draw(-1 - number, seed, [backend])
        folder = root / f"whole-{backend}"
        folder.mkdir(parents=True)
        stage = Stage(trial, folder, time_limit_s)
        process = stage.test()
        start_s = stage.wait_for_folder(process)
        began = time.monotonic()
        code = process.wait(COMMAND_TIMEOUT_S)
        life_s = time.monotonic() - began
        lives.note(backend, START, start_s)
        lives.note(backend, LIFE, life_s)
        print(
            f"on {backend} a test began after {start_s:.1f} s and lived {life_s:.1f} s (exit {code})",
            flush=True,
        )
        shutil.rmtree(folder)


def line_of(outcome: Outcome) -> str:
    """One trial in a line."""
    trial = outcome.trial
    return (
        f"{trial.number:4} {trial.backend:7} {trial.target:8} {trial.workload:8} "
        f"{outcome.killed_after_s:5.2f} s {outcome.phase:23} left {outcome.left:3} "
        f"faults {outcome.planned:3} open {','.join(outcome.open_kinds) or '-':24} "
        f"{trial.recovery:25} {outcome.analyzed or '-':8} {'; '.join(outcome.problems) or 'clean'}"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Moments and outcomes: how many were killed in each phase, what they left, and how it ended."""
    rows = [
        f"{'killed while':24} {'tests':>5} {'left s.th.':>10} {'open faults':>11} {'analyze says':32} problems"
    ]
    for phase, _ in PHASES:
        of_phase = [outcome for outcome in outcomes if outcome.phase == phase]
        if not of_phase:
            continue
        said = Counter(outcome.analyzed or "nothing to read" for outcome in of_phase)
        rows.append(
            f"{phase:24} {len(of_phase):5} {sum(o.left > 0 for o in of_phase):10} "
            f"{sum(bool(o.open_kinds) for o in of_phase):11} "
            f"{', '.join(f'{word} {count}' for word, count in sorted(said.items())):32} "
            f"{sum(bool(o.problems) for o in of_phase)}"
        )
    open_kinds = Counter(kind for outcome in outcomes for kind in outcome.open_kinds)
    backends = Counter(outcome.trial.backend for outcome in outcomes)
    rows.append(f"backends: {', '.join(f'{name} {count}' for name, count in sorted(backends.items()))}")
    rows.append(f"faults open at the kill: {', '.join(f'{k} {n}' for k, n in sorted(open_kinds.items()))}")
    return "\n".join(rows)


def soak(
    count: int,
    seed: int,
    backends: Sequence[str],
    *,
    jobs: int,
    time_limit_s: float,
    root: Path,
    first: int = 0,
) -> list[Outcome]:
    """Conduct the trials, so many at once, and tell of each."""
    lives = Lives()
    calibrate(backends, root, lives, time_limit_s, seed)
    outcomes = []
    trials = [draw(number, seed, backends) for number in range(first, first + count)]
    conduct_one = partial(conduct, root=root, lives=lives, time_limit_s=time_limit_s)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        for outcome in pool.map(conduct_one, trials):
            outcomes.append(outcome)
            print(line_of(outcome), flush=True)
    return outcomes


def main() -> int:
    """Print every trial and the table; 1 when anything was left or could not be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the number of the first trial")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--time-limit", type=float, default=3.0)
    parser.add_argument(
        "--backends", default="process,process,process,docker", help="drawn from, with repetition"
    )
    arguments = parser.parse_args()
    backends = [name for name in re.split(r"[, ]+", arguments.backends) if name]
    if "docker" in backends and not traces.has_engine():
        print("no engine answers: containers are left out", flush=True)
        backends = [name for name in backends if name != "docker"]
    root = Path(tempfile.mkdtemp(prefix="foreshock-soak-"))
    outcomes = soak(
        arguments.count,
        arguments.seed,
        backends,
        jobs=arguments.jobs,
        time_limit_s=arguments.time_limit,
        root=root,
        first=arguments.first,
    )
    print(table(outcomes))
    wrong = [outcome for outcome in outcomes if outcome.problems]
    print(f"{len(outcomes)} tests killed, {len(wrong)} with problems")
    if wrong:
        print(f"what they wrote is in {root}")
    else:
        shutil.rmtree(root)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
