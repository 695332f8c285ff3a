from __future__ import annotations

import subprocess
import sys

import pytest

import foreshock.harness


def test_every_public_name_loads_and_is_the_one_of_its_module() -> None:
    for name in foreshock.harness.__all__:
        assert getattr(foreshock.harness, name) is not None
    assert set(foreshock.harness.__all__) <= set(dir(foreshock.harness))


def test_importing_the_kernel_imports_nothing_else() -> None:
    code = (
        "import sys, foreshock.harness; print([m for m in sys.modules if m.startswith('foreshock.harness.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_name_that_is_not_there_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tarmac'"):
        _ = foreshock.harness.Tarmac
