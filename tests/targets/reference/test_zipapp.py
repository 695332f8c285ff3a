"""The node as one file: the same bytes each time, the standard library alone, and help that explains itself."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import foreshock.targets.reference as reference
from foreshock.targets.reference.zipapp import build_node_zipapp

HERE = Path(reference.__file__).parent
CARRIED = (
    "foreshock.targets.naive.node",
    "foreshock.targets.reference.bugs",
    "foreshock.targets.reference.node",
)

PROBE = """
import sys, sysconfig
archive = sys.argv[1]
sys.path.insert(0, archive)
import importlib, pkgutil
import foreshock.targets.reference as parent
for module in pkgutil.walk_packages(parent.__path__, "foreshock.targets.reference."):
    importlib.import_module(module.name)
allowed = (archive, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
for name, module in sorted(sys.modules.items()):
    file = getattr(module, "__file__", None)
    if name != "__main__" and file is not None and (not file.startswith(allowed) or "site-packages" in file):
        print(name, file)
"""


def test_building_it_twice_gives_the_same_bytes() -> None:
    assert build_node_zipapp.__wrapped__() == build_node_zipapp.__wrapped__()


def test_it_carries_the_node_the_bugs_and_empty_parents_alone() -> None:
    with zipfile.ZipFile(io.BytesIO(build_node_zipapp())) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert archive.read("foreshock/__init__.py") == b""
        assert archive.read("foreshock/targets/reference/__init__.py") == b""
        others = [n for n in names if not n.startswith(tuple(c.replace(".", "/") for c in CARRIED))]
    assert others == [
        "__main__.py",
        "foreshock/__init__.py",
        "foreshock/targets/__init__.py",
        "foreshock/targets/naive/__init__.py",
        "foreshock/targets/reference/__init__.py",
    ]


def test_every_module_in_it_imports_only_the_standard_library_and_itself(tmp_path: Path) -> None:
    path = tmp_path / "node.pyz"
    path.write_bytes(build_node_zipapp())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROBE, str(path)], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_source_of_it_imports_the_harness_or_anything_else_of_ours() -> None:
    wrong = []
    for path in [*(HERE / "node").rglob("*.py"), *(HERE / "bugs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            wrong += [
                f"{path.name}: {name}"
                for name in names
                if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith(CARRIED)
            ]
    assert wrong == []


def test_no_core_of_it_reads_a_clock_a_socket_a_file_or_a_random_source() -> None:
    outside = {"__main__.py", "server.py", "links.py", "connections.py", "disk.py", "shared_memory.py"}
    outside |= {"clock.py", "sqlite.py", "postgresql.py"}
    io_modules = {"asyncio", "time", "random", "secrets", "socket", "os", "threading", "pathlib", "signal"}
    wrong = []
    for path in (HERE / "node").rglob("*.py"):
        if path.name in outside:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            wrong += [f"{path.name}: {name}" for name in names if name.split(".")[0] in io_modules]
    assert wrong == []


def test_its_help_has_an_example_that_works_when_pasted(tmp_path: Path) -> None:
    path = tmp_path / "node.pyz"
    path.write_bytes(build_node_zipapp())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path), "--help"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0
    assert "nc -q 1 127.0.0.1 7001" in done.stdout
    assert "exit codes" in done.stdout
