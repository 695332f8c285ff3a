"""One measurement in a process of its own, so that its memory is its own: ``python -m benchmarks.checking.child``."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"


def measure_alone(
    kind: str, *arguments: object, patience_s: float, memory_max_bytes: int | None = None
) -> dict[str, Any]:
    """What the measurement ``kind`` gives in a new process; ``died`` says how when it does not come back.

    It is ended after ``patience_s``; ``memory_max_bytes`` limits the address space of that process.
    """
    command = [sys.executable, "-m", "benchmarks.checking.child", kind, *map(str, arguments)]

    def limit() -> None:
        if memory_max_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory_max_bytes, memory_max_bytes))

    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=patience_s
        )
    except subprocess.TimeoutExpired:
        return {"died": f"it was ended after {patience_s:.0f} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()
        return {"died": f"exit code {done.returncode}" + (f": {last[-1]}" if last else "")}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class PeakMemory:
    """How much the peak of this process's memory rises above what it held at the start, in bytes.

    Linux alone can forget an earlier peak; elsewhere it counts from the process's own.
    """

    def __enter__(self) -> PeakMemory:
        gc.collect()
        _give_back()
        if _CLEAR.exists():
            _CLEAR.write_text(_RESET_PEAK)
        self._before = _resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.rise_bytes = max(0, _resident("VmHWM") - self._before)


def _give_back() -> None:
    """What has been freed goes back to the system; else the C library would use it again, and no peak would tell."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident(name: str) -> int:
    if not _STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"{_STATUS} has no {name}")


def main() -> None:
    """Measure what the command line says, and print it as JSON."""
    from benchmarks.checking import adversarial, scale

    kind, *arguments = sys.argv[1:]
    measurement = {"scale": scale.measure_one, "adversarial": adversarial.measure_one}[kind]
    print(json.dumps(measurement(*arguments)))


if __name__ == "__main__":
    main()
