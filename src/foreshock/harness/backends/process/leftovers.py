"""What a dead run left on this machine beside its results: processes, mounts, control groups, the data of its nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from foreshock.harness import live_runs
from foreshock.harness.backends.mounts import unmount_below
from foreshock.harness.backends.on_hosts import control_groups
from foreshock.harness.backends.process_identity import end_processes_of_run, processes_of_run, signal_group
from foreshock.harness.errors import HarnessError
from foreshock.harness.live_runs import LiveRun

DATA: Final = "data"
"""The folder, in that of the run, in which the nodes live. What is results is beside it, and stays."""
_CGROUPS: Final = Path(control_groups.ROOT)
_THAWED: Final[Mapping[str, str]] = MappingProxyType({"freezer.state": "THAWED", "cgroup.freeze": "0"})
"""What thaws a group, by the file to which it is written, in either kind of hierarchy."""
_SETTLE_S: Final = 5.0
_POLL_S: Final = 0.02


def clean_run(run: LiveRun) -> list[str]:
    """Remove all that is left of a dead run, and forget it; says what was removed. Raises ``HarnessError``.

    What cannot be removed keeps the run registered, so that it can be tried again.
    """
    _thaw(run.run)
    done = _end_processes(run)
    left = processes_of_run(run.run)
    if left:
        raise HarnessError(f"these processes do not die: {', '.join(map(str, left))}")
    folder = Path(run.directory)
    done += [f"unmounted {point}" for point in unmount_below(folder)]
    done += [f"removed the control group {path}" for path in _remove_cgroups(run.run)]
    if _remove_data(folder / DATA):
        done.append("removed the data of its nodes")
    live_runs.forget(run.run)
    return [f"run {run.run}: {what}" for what in done]


def _end_processes(run: LiveRun) -> list[str]:
    ended = {
        process.pid: name
        for name, process in sorted(run.processes.items())
        if signal_group(process, signal.SIGKILL)
    }
    others = [pid for pid in end_processes_of_run(run.run) if pid not in ended]
    return [
        *(f"ended {name} (process {pid})" for pid, name in ended.items()),
        *(f"ended process {pid}, which it left behind" for pid in others),
    ]


def cgroups_of_run(run: str) -> list[Path]:
    """The run's control groups in every hierarchy, the innermost first."""
    wanted = control_groups.group_of_run(run)
    tops = (Path(folder) / wanted for folder, names, _ in os.walk(_CGROUPS) if wanted in names)
    return sorted((Path(inner) for top in tops for inner, _, _ in os.walk(top)), reverse=True)


def _thaw(run: str) -> None:
    """Let the run's groups go on: nothing dies that is frozen."""
    for group in cgroups_of_run(run):
        for name, thawed in _THAWED.items():
            with contextlib.suppress(FileNotFoundError), (group / name).open("r+") as file:
                file.write(thawed)


def _remove_cgroups(run: str) -> list[Path]:
    groups = cgroups_of_run(run)
    for group in groups:
        if not _until(partial(_removed, group)):
            raise HarnessError(f"the control group {group} cannot be removed: something still runs in it")
    return groups


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_data(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:  # another one that cleans was faster
        return True
    except OSError as error:
        raise HarnessError(f"the data of its nodes in {folder} cannot be removed: {error}") from error
    return True


def _until(done: Callable[[], bool]) -> bool:
    """Try again for a moment: the kernel lets go of what was killed a little later."""
    deadline = time.monotonic() + _SETTLE_S
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
