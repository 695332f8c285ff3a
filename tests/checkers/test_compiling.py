"""What was compiled of other sources is forgotten, and nothing that is not ours."""

from __future__ import annotations

from pathlib import Path

from foreshock.checkers.kernels import compiling


def test_what_was_compiled_of_other_sources_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    ours = tmp_path / "search_kernel.search_on-12.py311.nbi"
    code = tmp_path / "search_kernel.search_on-12.py311.1.nbc"
    theirs = tmp_path / "somebody.else-3.py311.nbi"
    for file in (ours, code, theirs):
        file.write_bytes(b"compiled")
    compiling._forget_stale.__wrapped__(tmp_path)
    assert not ours.exists()
    assert not code.exists()
    assert theirs.exists()
    ours.write_bytes(b"compiled again")
    compiling._forget_stale.__wrapped__(tmp_path)
    assert ours.exists()
    (tmp_path / compiling._STAMP).write_text("of other sources")
    compiling._forget_stale.__wrapped__(tmp_path)
    assert not ours.exists()


def test_a_folder_that_is_none_is_no_reason_to_fail(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    compiling._forget_stale.__wrapped__(file / "below")
    assert file.read_text() == "no folder"


def test_a_kernel_that_was_called_is_on_disk() -> None:
    from foreshock.checkers.kernel_search import KernelSearch
    from foreshock.checkers.kernels.search_kernel import search_on

    KernelSearch.warm_up()
    assert compiling.is_on_disk(search_on)
