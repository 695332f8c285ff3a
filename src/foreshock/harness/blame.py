"""An exception as one sentence for the author of the code that raised it."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from typing import Final

from foreshock.harness.printable import printable

_KERNEL: Final = str(Path(__file__).parent)
_LIBRARIES: Final = tuple(
    {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def describe(error: BaseException) -> str:
    """Such as ``ZeroDivisionError: division by zero (mydb.py, line 12, in read)``.

    The place is the innermost one that is neither the kernel nor a library: there the plug-in's author looks first.
    """
    text = printable(" ".join(str(error).split()))
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((_KERNEL, *_LIBRARIES, "<")):
            return f"{what} ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return what


def without_numbers(text: str) -> str:
    """An error's text with an ellipsis for each number, by which those that ended for the same reason are counted."""
    return _NUMBER.sub("…", text)
