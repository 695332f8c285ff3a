"""Builds ``node.pyz``: the reference node as one file that any Python 3.11 runs, with nothing but its standard library.

The same sources give the same bytes: entries are sorted, dated alike, and compressed at a fixed level.
"""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

NODE_ZIPAPP: Final = "node.pyz"

_TARGETS = Path(__file__).parent.parent
_PACKAGES = ("reference/node", "reference/bugs", "naive/node")
_INSIDE = "foreshock/targets"
_EMPTY = tuple(
    f"{package}/__init__.py" for package in ("foreshock", _INSIDE, f"{_INSIDE}/reference", f"{_INSIDE}/naive")
)
_MAIN = f"""\
import sys

if sys.version_info < (3, 11):
    sys.exit("node.pyz needs Python 3.11 or later; this is " + sys.version.split()[0])

from {_INSIDE.replace("/", ".")}.reference.node.__main__ import main

sys.exit(main())
"""
_SHEBANG = b"#!/usr/bin/env python3\n"
_DATE = (1980, 1, 1, 0, 0, 0)


@cache
def build_node_zipapp() -> bytes:
    """The zipapp's bytes. The packages above the node's own are empty in it: it carries nothing of the harness."""
    sources = dict.fromkeys(_EMPTY, b"")
    sources["__main__.py"] = _MAIN.encode()
    for package in _PACKAGES:
        for path in (_TARGETS / package).rglob("*.py"):
            sources[f"{_INSIDE}/{path.relative_to(_TARGETS).as_posix()}"] = path.read_bytes()
    archive = io.BytesIO()
    archive.write(_SHEBANG)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as writer:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            writer.writestr(entry, sources[name])
    return archive.getvalue()
