"""The house rules that no other tool holds: links, sizes, imports, prints, words."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "foreshock"
ROOMS = ("harness", "workloads", "nemesis", "checkers", "targets", "reports")
MODULE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70
MAY_PRINT = ("harness/cli/", "targets/reference/node/__main__.py")
SHELL = (
    "__main__.py",
    "server.py",
    "clock.py",
    "connections.py",
    "links.py",
    "disk.py",
    "postgresql.py",
    "sqlite.py",
    "shared_memory.py",
)
"""The node's asyncio shell: the only modules of it that may touch the world."""


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("room", ROOMS)
def test_a_committed_link_shows_each_room_at_the_top(room: str) -> None:
    link = ROOT / room
    assert link.is_symlink()
    assert str(link.readlink()) == f"src/foreshock/{room}"
    assert (link / "__init__.py").is_file()


def test_no_module_is_longer_than_a_module_should_be() -> None:
    long = {relative(p): n for p in modules() if (n := len(p.read_text().splitlines())) > MODULE_LINES_MAX}
    assert long == {}


def test_every_function_fits_a_screen() -> None:
    long = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{relative(path)}:{node.name}"] = lines
    assert long == {}


def test_only_the_command_line_prints() -> None:
    printing = []
    for path in modules():
        if relative(path).startswith(MAY_PRINT):
            continue
        printing += [
            f"{relative(path)}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
    assert printing == []


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
    return found


def test_the_rooms_import_only_what_the_architecture_allows() -> None:
    allowed = {room: {room, "harness"} for room in ROOMS}
    allowed["harness"] = {"harness"}
    allowed["workloads"] = {"workloads", "harness", "checkers"}
    crossing = []
    for path in modules():
        room = relative(path).split("/")[0]
        if room not in allowed:
            continue
        for name in imported(path):
            parts = name.split(".")
            if (
                parts[0] == "foreshock"
                and len(parts) > 1
                and parts[1] in ROOMS
                and parts[1] not in allowed[room]
            ):
                crossing.append(f"{relative(path)} imports {name}")
    assert crossing == []


def test_the_node_program_imports_only_the_standard_library_and_itself() -> None:
    own = ("foreshock.targets.reference.node", "foreshock.targets.reference.bugs")
    foreign = []
    for folder in ("targets/reference/node", "targets/reference/bugs"):
        for path in sorted((SOURCE / folder).rglob("*.py")):
            for name in imported(path):
                if name.startswith(own) or name.split(".")[0] in sys.stdlib_module_names:
                    continue
                foreign.append(f"{relative(path)} imports {name}")
    assert foreign == []


def test_protocol_cores_touch_no_clock_socket_file_or_random_source() -> None:
    forbidden = {"asyncio", "time", "random", "socket", "os", "threading", "secrets"}
    touching = [
        f"{relative(path)} imports {name}"
        for path in sorted((SOURCE / "targets/reference/node").rglob("*.py"))
        if path.name not in SHELL
        for name in imported(path)
        if name.split(".")[0] in forbidden
    ]
    assert touching == []


def test_every_registered_plug_in_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = []
    for group, points in project["entry-points"].items():
        for name, value in points.items():
            module, _, attribute = value.partition(":")
            try:
                __import__(module)
                assert not attribute or getattr(sys.modules[module], attribute)
            except (ImportError, AttributeError) as error:
                missing.append(f"{group} {name}: {error}")
    assert missing == []


def test_committed_files_speak_of_the_project_alone() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    words = ("/" + "root/", "/" + "work/", "pyp" + "i.org", "T" + "ODO", "FIX" + "ME", "X" + "XX")
    found = []
    for name in files:
        path = ROOT / name
        if not name or path.is_symlink() or not path.is_file() or path.suffix in (".png", ".parquet"):
            continue
        text = path.read_text(errors="replace")
        found += [f"{name}: {word}" for word in words if word in text]
    assert found == []
