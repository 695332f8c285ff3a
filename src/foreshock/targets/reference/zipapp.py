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

_HERE = Path(__file__).parent
_PACKAGES = ("node", "bugs")
_INSIDE = "foreshock/targets/reference"
_EMPTY = ("foreshock/__init__.py", "foreshock/targets/__init__.py", f"{_INSIDE}/__init__.py")
_MAIN = f"""\
import sys

if sys.version_info < (3, 11):
    sys.exit("node.pyz needs Python 3.11 or later; this is " + sys.version.split()[0])

from {_INSIDE.replace("/", ".")}.node.__main__ import main

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
        for path in (_HERE / package).rglob("*.py"):
            sources[f"{_INSIDE}/{path.relative_to(_HERE).as_posix()}"] = path.read_bytes()
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
