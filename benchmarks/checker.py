"""Seconds and memory of the checker, the peer and ours in one run; every verdict is checked.

Run as ``python -m benchmarks.checker [--porcupine DIR] [--histories DIR] [--operations 10000 10000000]``. The tables:

* ``etcd``, ``kv`` and ``knossos``: histories that other projects published, from the folder that ``--histories`` or
  ``FORESHOCK_HISTORIES`` names. Beside them Porcupine, built from the checkout that ``--porcupine`` or
  ``FORESHOCK_PORCUPINE`` names. Without the folder, or without the checkout or Go, that part is left out with a word;
* by size: legal histories of registers and locks;
* adversarial: what no search can be sure to finish.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.checking import adversarial, peer, public, scale
from benchmarks.checking.figures import Findings

PARTS = ("public", "scale", "adversarial")


def main() -> int:
    """Measure; returns 1 when a verdict was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--porcupine", type=Path, default=os.environ.get("FORESHOCK_PORCUPINE"))
    parser.add_argument("--histories", type=Path, default=os.environ.get("FORESHOCK_HISTORIES"))
    parser.add_argument("--operations", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--only", default="", help="of the generated histories those whose name has this in it"
    )
    arguments = parser.parse_args()
    findings = Findings()
    if "public" in arguments.parts:
        _public(arguments.histories, arguments.porcupine, findings)
    if "scale" in arguments.parts:
        scale.measure(arguments.operations, arguments.only, findings)
    if "adversarial" in arguments.parts:
        adversarial.measure(arguments.only, findings)
    return findings.conclude()


def _public(histories: Path | str | None, porcupine: Path | str | None, findings: Findings) -> None:
    if histories is None or not (Path(histories) / "verdicts.json").is_file():
        print(
            "public histories are left out: --histories or FORESHOCK_HISTORIES names no folder with verdicts.json"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        built = peer.build(None if porcupine is None else Path(porcupine), Path(folder))
        if isinstance(built, str):
            print(built)
        public.measure(Path(histories), None if isinstance(built, str) else built, findings)


if __name__ == "__main__":
    sys.exit(main())
