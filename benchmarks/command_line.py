"""How long ``foreshock --help`` and shell completion take, beside a bare Python that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

RUNS = 15
MILLISECONDS_MAX = 250
FORESHOCK = str(Path(sys.executable).with_name("foreshock"))
COMPLETION = {
    "_FORESHOCK_COMPLETE": "bash_complete",
    "COMP_WORDS": "foreshock test --target r",
    "COMP_CWORD": "3",
}


def milliseconds(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Median and worst time of the whole process."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, check=False)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), max(times)


def main() -> int:
    rows = {
        "python -c pass (peer)": milliseconds([sys.executable, "-c", "pass"]),
        "foreshock --help": milliseconds([FORESHOCK, "--help"]),
        "foreshock test --help": milliseconds([FORESHOCK, "test", "--help"]),
        "completion of --target r": milliseconds([FORESHOCK], COMPLETION),
    }
    print(f"{'':28} {'median ms':>10} {'worst ms':>10}    (to be under {MILLISECONDS_MAX} ms)")
    for name, (median, worst) in rows.items():
        print(f"{name:28} {median:10.0f} {worst:10.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
