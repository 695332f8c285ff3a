"""The page on pytest: its examples pass, its options are there, and every option is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.documents import blocks
from tests.harness.pytest_plugin.test_pytest_plugin import outcomes

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "pytest.md").read_text()
EXAMPLES = {block.splitlines()[0].removeprefix("# "): block for block in blocks(PAGE, "python")}


def test_every_example_passes(pytester: pytest.Pytester) -> None:
    assert len(EXAMPLES) == 4
    for name, text in EXAMPLES.items():
        (pytester.path / name).write_text(text)
    outcomes(pytester.runpytest("--strict-markers"), passed=10)


def test_the_options_on_the_page_are_those_that_there_are(pytester: pytest.Pytester) -> None:
    said = pytester.runpytest("--help").stdout.str()
    options = set(re.findall(r"--foreshock-[a-z-]+", PAGE))
    assert options == set(re.findall(r"--foreshock-[a-z-]+", said))
    settings = set(re.findall(r"`(foreshock_(?!seed|verdict|run)[a-z_]+)`", PAGE))
    assert settings == set(re.findall(r"^  (foreshock_[a-z_]+)", said, re.MULTILINE))
