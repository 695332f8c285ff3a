"""``python -m tests.mutation [module ...]`` mutates the checkers; see docs/mutation.md.

Exits with 1 where a mutant survived that the committed list (survivors.toml) does not answer for.
"""

from __future__ import annotations

import os

os.environ["FORESHOCK_KERNELS"] = "interpreted"

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.mutation.judging import CHECKERS, JUDGED_S_MAX, Judge, import_all, measure
from tests.mutation.listing import NOTICED, compare, name_of, write_document
from tests.mutation.mutants import mutants_of

MODULES: Final = (
    "search.py",
    "problem.py",
    "entries.py",
    "core.py",
    "fast_paths/*.py",
    "encoding.py",
    "models/*.py",
    "rounds.py",
    "first_impossible.py",
    "mutex.py",
    "fencing.py",
    "linearizable.py",
    "kernels/*.py",
    "kernel_search.py",
)
ELSEWHERE: Final = (
    "test_sessions",
    "test_staleness",
    "test_convergence",
    "test_sequential",
    "test_public",
    "test_soak",
)
"""Tests of what is not mutated, and those of long histories."""
OUTPUT: Final = Path(".mutation")


def main() -> int:
    """Mutate, judge, compare with the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help="of src/foreshock/checkers; all of them")
    parser.add_argument("--seconds", type=float, default=JUDGED_S_MAX, help="of testing for one mutant")
    parser.add_argument("--match", default="", help="only mutants whose name holds this text")
    parser.add_argument("--again", action="store_true", help="only mutants that survived the last run")
    parser.add_argument("--document", action="store_true", help="write docs/mutation.md from what was found")
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    if arguments.document:
        write_document(OUTPUT)
        return 0
    import_all()
    runner = _Runner(arguments)
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=native", "--assert=plain"]
    code = pytest.main([*quiet, "tests/checkers", "tests/mutation", "-W", "ignore"], plugins=[runner])
    return compare(OUTPUT, runner.modules) if code in (0, 5) else int(code)


class _Runner:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        patterns = arguments.modules
        self.modules = [
            path.relative_to(CHECKERS).as_posix()
            for pattern in patterns
            for path in sorted(CHECKERS.glob(pattern))
        ]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests, let them judge."""
        # What is planted says nothing about the code as it is.
        items = [
            item
            for item in session.items
            if "mistake" not in item.nodeid and not any(name in item.nodeid for name in ELSEWHERE)
        ]
        for item in items:
            _make_quick(item)
        tests = measure(items, OUTPUT / "tests.json")
        judge = Judge(tests, self._arguments.seconds)
        # Pages that the collector does not write to stay shared with the forks.
        gc.collect()
        gc.freeze()
        for module in self.modules:
            self._mutate(judge, module)
        return True

    def _mutate(self, judge: Judge, module: str) -> None:
        found: list[dict[str, Any]] = []
        path = OUTPUT / f"{module.replace('/', '-')}.json"
        before = (
            {f"{each['module']}: {name_of(each)}": each for each in json.loads(path.read_text())}
            if self._arguments.again
            else {}
        )
        for mutant in mutants_of(CHECKERS / module, module):
            if self._arguments.match not in mutant.name:
                continue
            if mutant.name in before and before[mutant.name]["verdict"] in NOTICED:
                found.append(before[mutant.name])
                continue
            judged = judge.judge(mutant)
            found.append(
                {
                    "module": module,
                    "function": mutant.function,
                    "line": mutant.lines.start,
                    "mutant": mutant.name.split(": ", 2)[2],
                    "verdict": judged.verdict,
                    "by": judged.by,
                    "tests": judged.tests,
                    "seconds": judged.seconds,
                }
            )
            if judged.verdict not in NOTICED:
                how = f"{judged.tests} tests, {judged.seconds} s"
                print(f"{judged.verdict} ({how}), line {mutant.lines.start}: {mutant.name}", flush=True)
        if not self._arguments.match:
            path.write_text(json.dumps(found, indent=1))
        survived = sum(each["verdict"] not in NOTICED for each in found)
        print(
            f"{module}: {len(found)} mutants, {survived} left, {sum(e['seconds'] for e in found):.0f} s",
            flush=True,
        )


def _make_quick(item: pytest.Item) -> None:
    """Hypothesis neither remembers nor shrinks what it finds, and finds the same each time."""
    function = getattr(item, "obj", None)
    if hasattr(function, "hypothesis") and hasattr(function, "_hypothesis_internal_use_settings"):
        own = function._hypothesis_internal_use_settings
        quick = settings(
            own,
            database=None,
            derandomize=True,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        getattr(function, "__func__", function)._hypothesis_internal_use_settings = quick


if __name__ == "__main__":
    sys.exit(main())
