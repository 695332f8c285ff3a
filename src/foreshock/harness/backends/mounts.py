"""What is mounted below a folder of ours, and how to be rid of it, also when its server is dead."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import Final

from foreshock.harness.errors import HarnessError

_MOUNTS: Final = Path("/proc/self/mountinfo")
_COMMANDS: Final = (("umount", "-l"), ("fusermount3", "-u", "-z"), ("fusermount", "-u", "-z"))
"""The first needs a privilege, the others unmount what their user mounted."""
_COMMAND_TIMEOUT_S: Final = 20.0


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted below a folder, the innermost first; empty where there is no ``/proc``.

    Symbolic links on the way to the folder are followed: else what is mounted there would be missed, and then be
    removed with the folder, file by file.
    """
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return []
    folder = folder.resolve()
    points = [Path(_unescaped(line.split()[4])) for line in lines]
    return sorted((point for point in points if folder in point.parents), reverse=True)


def _unescaped(path: str) -> str:
    """A path as ``/proc/self/mountinfo`` shows it: blanks and the like in octal (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def unmount_below(folder: Path) -> list[Path]:
    """Unmount all below the folder, also what is still in use or whose server is dead; says what was.

    Raises ``HarnessError``.
    """
    points = mounts_below(folder)
    for point in points:
        said = ""
        for command in _COMMANDS:
            if point not in mounts_below(folder):
                break
            with contextlib.suppress(FileNotFoundError):
                done = subprocess.run(
                    [*command, str(point)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_COMMAND_TIMEOUT_S,
                    check=False,
                )
                said = done.stderr.strip() or said
        if point in mounts_below(folder):
            raise HarnessError(f"{point} cannot be unmounted: {said or 'there is no umount'}")
    return points
