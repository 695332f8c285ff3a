from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foreshock.harness import registry
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.registry import Kind, load


def test_a_class_is_loaded_from_a_file_without_shadowing_anything(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("class Mine:\n    here = __file__\n")
    mine = load(Kind.TARGETS, f"{tmp_path}/json.py:Mine")
    assert mine.here == str(tmp_path / "json.py")
    assert "JSONDecoder" in dir(sys.modules["json"])
    assert load(Kind.TARGETS, f"{tmp_path}/json.py:Mine") is mine


def test_a_file_that_does_not_import_says_why_and_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import nothing_like_this\n")
    with pytest.raises(
        PlugInError, match=r"broken\.py does not import: ModuleNotFoundError: .*nothing_like_this"
    ):
        load(Kind.TARGETS, f"{path}:Mine")
    path.write_text("class Mine: ...\n")
    assert load(Kind.TARGETS, f"{path}:Mine").__name__ == "Mine"


def test_a_class_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "db.py").write_text("class MyDatabase: ...\n")
    with pytest.raises(UsageError, match=r"has no class 'MyDatabse' \(did you mean 'MyDatabase'\?\)"):
        load(Kind.TARGETS, f"{tmp_path}/db.py:MyDatabse")


def test_a_broken_entry_point_is_a_warning_until_it_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenPoint:
        name, value = "bad", "bad.module:Bad"

        def load(self) -> object:
            raise RuntimeError("no licence")

    monkeypatch.setattr(registry, "_entry_points", lambda _kind: {"bad": BrokenPoint()})
    assert registry.names(Kind.TARGETS) == ["bad"]
    assert "no licence" in registry.broken(Kind.TARGETS)["bad"]
    with pytest.raises(PlugInError, match=r"'bad' .* does not import: RuntimeError: no licence"):
        load(Kind.TARGETS, "bad")


def test_who_lacks_the_library_of_a_plug_in_is_told_of_the_extra_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dist:
        name = "others-databases"
        requires = (
            "numpy>=2",
            'cassandra-driver>=3; extra == "wide"',
            'kazoo[sasl]>=2.10; extra == "external"',
        )

    class Point:
        name, value, dist = "bad", "bad.module:Bad", Dist()
        missing = "kazoo.client"

        def load(self) -> object:
            raise ModuleNotFoundError(f"No module named {self.missing!r}", name=self.missing)

    monkeypatch.setattr(registry, "_entry_points", lambda _kind: {"bad": Point()})
    with pytest.raises(
        PlugInError, match=r"named 'kazoo.client'.*: pip install 'others-databases\[external\]'$"
    ):
        load(Kind.TARGETS, "bad")
    monkeypatch.setattr(Point, "missing", "numpy")
    with pytest.raises(PlugInError, match=r"named 'numpy'[^:]*$"):
        load(Kind.TARGETS, "bad")
