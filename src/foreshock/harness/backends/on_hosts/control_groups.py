"""Control groups of our own, as shell scripts for any Host: one a node, ``foreshock-<run>/<node>``.

Where a controller has a hierarchy of its own (cgroup v1) the group is in that; else in the unified one (v2). A node
starts inside its group, so that all it ever uses is counted there. Nobody else's group is read or changed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = "/sys/fs/cgroup"
PREFIX: Final = "foreshock-"
PERIOD_US: Final = 100_000
CONTROLLERS: Final = ("cpu", "memory", "freezer")
_REMOVE_ROUNDS: Final = 50

# The folder of the group for a controller; and what is said once, before anything else.
_PREAMBLE: Final = """\
root={root}; group={group}
v1() {{ [ -d "$root/$1" ]; }}
at() {{ if v1 "$1"; then echo "$root/$1/$group"; else echo "$root/$group"; fi; }}
"""

_MAKE: Final = """\
set -e
for controller in cpu memory freezer; do mkdir -p "$(at $controller)"; done
if [ -e "$root/cgroup.controllers" ]; then
  above=$root
  for step in $(dirname "$group" | tr / ' '); do
    above=$above/$step
    for controller in cpu memory; do v1 $controller || echo "+$controller" >"$above/cgroup.subtree_control"; done
  done
fi
"""

_CPU: Final = """\
set -e
if v1 cpu; then
  [ {quota} = max ] || echo {period} >"$(at cpu)/cpu.cfs_period_us"
  if [ {quota} = max ]; then echo -1; else echo {quota}; fi >"$(at cpu)/cpu.cfs_quota_us"
else
  echo "{quota} {period}" >"$(at cpu)/cpu.max"
fi
"""

# Swap counts, or is forbidden: a node that may swap is not short of memory. Only what has swap accounting has the file.
_MEMORY: Final = """\
set -e
here=$(at memory)
if v1 memory; then
  limit={limit}; [ $limit = max ] && limit=-1
  [ ! -e "$here/memory.memsw.limit_in_bytes" ] || echo -1 >"$here/memory.memsw.limit_in_bytes"
  echo $limit >"$here/memory.limit_in_bytes"
  [ ! -e "$here/memory.memsw.limit_in_bytes" ] || echo $limit >"$here/memory.memsw.limit_in_bytes"
else
  [ ! -e "$here/memory.swap.max" ] || \
if [ {limit} = max ]; then echo max; else echo 0; fi >"$here/memory.swap.max"
  echo {limit} >"$here/memory.max"
fi
"""

_READ: Final = """\
here=$(at cpu)
if [ -r "$here/cpu.cfs_quota_us" ]; then
  quota=$(cat "$here/cpu.cfs_quota_us"); [ "$quota" -lt 0 ] || echo cpu "$quota"
elif [ -r "$here/cpu.max" ]; then
  read -r quota period <"$here/cpu.max"; [ "$quota" = max ] || echo cpu "$quota"
fi
[ ! -r "$here/cpu.stat" ] || awk '$1 == "nr_throttled" { print "throttled", $2 }' "$here/cpu.stat"
here=$(at memory)
for file in memory.limit_in_bytes memory.max; do
  [ ! -r "$here/$file" ] || awk '$1 != "max" && $1 < 2^60 { print "memory", $1 }' "$here/$file"
done
for file in memory.usage_in_bytes memory.current; do
  [ ! -r "$here/$file" ] || awk '{ print "used", $1 }' "$here/$file"
done
[ ! -r "$here/memory.stat" ] || awk '{ seen[$1] = $2 }
  END { print "inactive", ("total_inactive_file" in seen ? seen["total_inactive_file"] : seen["inactive_file"]) + 0 }' \
"$here/memory.stat"
"""

_FREEZE: Final = """\
set -e
if v1 freezer; then echo FROZEN >"$(at freezer)/freezer.state"; else echo 1 >"$(at freezer)/cgroup.freeze"; fi
"""

_THAW: Final = """\
for leaf in "$(at freezer)" "$(at freezer)"/*/; do
  [ ! -e "$leaf/freezer.state" ] || echo THAWED >"$leaf/freezer.state"
  [ ! -e "$leaf/cgroup.freeze" ] || echo 0 >"$leaf/cgroup.freeze"
done
"""

_FROZEN: Final = """\
here=$(at freezer)
if v1 freezer; then cat "$here/freezer.state"
else awk '$1 == "frozen" && $2 { print "FROZEN" }' "$here/cgroup.events"; fi
"""

# A group is in use until the last of its processes is quite gone.
_REMOVE: Final = """\
for controller in cpu memory freezer; do
  here=$(at $controller)
  for leaf in "$here"/*/ "$here"; do
    round=0
    while [ -d "$leaf" ] && ! rmdir "$leaf" 2>/dev/null && [ $round -lt ROUNDS ]; do
      sleep 0.02; round=$((round + 1))
    done
  done
  if [ -d "$here" ]; then echo "$here is still in use" >&2; exit 1; fi
done
exit 0
"""


def group_of_run(run: str) -> str:
    """The path, below the root of a hierarchy, of the group that holds those of a run's nodes."""
    return f"{PREFIX}{run}"


def group_of(run: str, node: str) -> str:
    """The path of a node's group."""
    return f"{group_of_run(run)}/{node}"


def usable(root: str = ROOT) -> bool:
    """Whether this process may make groups with all our controllers, on this machine."""
    unified = Path(root) / "cgroup.controllers"
    if not all((Path(root) / each).is_dir() for each in CONTROLLERS):
        try:
            # What the hierarchy itself does not hand down would have to be switched on for everybody.
            handed_down = (Path(root) / "cgroup.subtree_control").read_text().split()
        except OSError:
            return False
        if not unified.exists() or not {"cpu", "memory"} <= set(handed_down):
            return False
        return os.access(root, os.W_OK)
    return all(os.access(Path(root) / each, os.W_OK) for each in CONTROLLERS)


def make(group: str, root: str = ROOT) -> str:
    """Make the group."""
    return _preamble(group, root) + _MAKE


def starter(group: str, root: str = ROOT) -> Sequence[str]:
    """What a command is put after so that it runs in the group from its beginning, as the same process."""
    script = (
        _preamble(group, root)
        + 'for controller in cpu memory freezer; do echo $$ >"$(at $controller)/cgroup.procs" || exit 126; done\n'
        + 'exec "$@"\n'
    )
    return ("/bin/sh", "-c", script, "foreshock")


def limit_cpu(group: str, percent: int | None, root: str = ROOT) -> str:
    """Give the group so many percent of one core; ``None``: as much as there is, if it is there itself."""
    quota = "max" if percent is None else str(PERIOD_US * percent // 100)
    return _preamble(group, root) + _if_there("cpu", percent) + _CPU.format(quota=quota, period=PERIOD_US)


def limit_memory(group: str, limit_bytes: int | None, root: str = ROOT) -> str:
    """Give the group so much memory and no swap; ``None``: as much as there is, if it is there itself."""
    return (
        _preamble(group, root)
        + _if_there("memory", limit_bytes)
        + _MEMORY.format(limit="max" if limit_bytes is None else limit_bytes)
    )


def read(group: str, root: str = ROOT) -> str:
    """Print, a line each: ``cpu`` (us of every 100 ms) and ``memory`` (bytes) where limited; ``used``, ``inactive``
    (bytes, page cache that can go) and ``throttled`` (how often) where known."""
    return _preamble(group, root) + _READ


def freeze(group: str, root: str = ROOT) -> str:
    """Freeze all processes of the group."""
    return _preamble(group, root) + _FREEZE


def thaw(group: str, root: str = ROOT) -> str:
    """Thaw the group and those below it; harmless where they are not frozen, or not there."""
    return _preamble(group, root) + _THAW


def frozen(group: str, root: str = ROOT) -> str:
    """Print ``FROZEN`` when all of the group is."""
    return _preamble(group, root) + _FROZEN


def remove(group: str, root: str = ROOT) -> str:
    """Remove the group and those below it; harmless where it is not."""
    return _preamble(group, root) + _REMOVE.replace("ROUNDS", str(_REMOVE_ROUNDS))


def _if_there(controller: str, limit: int | None) -> str:
    return "" if limit is not None else f'[ -d "$(at {controller})" ] || exit 0\n'


def _preamble(group: str, root: str) -> str:
    return _PREAMBLE.format(root=shlex.quote(root), group=shlex.quote(group))
