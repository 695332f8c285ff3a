"""What is mounted below a folder, by a list of mounts that is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock.harness.backends import mounts


def test_mounts_are_found_innermost_first_also_by_way_of_a_symbolic_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link, listing = tmp_path / "a folder", tmp_path / "link", tmp_path / "mountinfo"
    (real / "run").mkdir(parents=True)
    link.symlink_to(real)
    shown = str(real).replace(" ", "\\040")
    places = [f"{shown}/run/dev", f"{shown}/run/dev/pts", f"{shown}/running", "/", shown]
    listing.write_text("".join(f"36 35 98:0 / {place} rw - tmpfs tmpfs rw\n" for place in places))
    monkeypatch.setattr(mounts, "_MOUNTS", listing)
    expected = [real / "run/dev/pts", real / "run/dev"]
    assert mounts.mounts_below(real / "run") == expected
    assert mounts.mounts_below(link / "run") == expected
