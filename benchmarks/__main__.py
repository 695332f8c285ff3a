"""Run every benchmark of this folder, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOT_FIGURES = {"__init__", "__main__", "every_target"}


def main() -> int:
    """Run them all, or those named; returns the worst exit code."""
    known = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_FIGURES)
    chosen = sys.argv[1:] or known
    for name in chosen:
        if name not in known:
            print(f"there is no benchmark {name!r}: known are {', '.join(known)}", file=sys.stderr)
            return 4
    worst = 0
    for name in chosen:
        print(f"\n== {name} ==", flush=True)
        worst = max(
            worst, subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
