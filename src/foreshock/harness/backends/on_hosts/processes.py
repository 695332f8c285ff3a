"""Scripts that find the processes of a node, stop them and let them go on; for any Host with ``/proc``.

A *lister* is a script that prints one line a process: its pid and its state as ``/proc/<pid>/stat`` has it. It names
only processes of the node that is meant, however pids have been used again meanwhile.
"""

from __future__ import annotations

import shlex
from typing import Final

STOP_ROUNDS: Final = 20
"""How often a node's processes are looked for until none is left that runs: one may fork while it is stopped."""

# What proc(5) calls state, ppid, pgrp, session and starttime; the command's name may hold anything, so it is cut off.
_FIELDS: Final = r"""{ pid = $1; if (!sub(/^.*\) /, "")) next
  state[pid] = $1; parent[pid] = $2; group[pid] = $3; session[pid] = $4; started[pid] = $20 }"""

_FAMILY: Final = """END { if (started[root] != since) exit
  do { more = 0; for (pid in parent) if (!(pid in ours) && \
(pid == root || session[pid] == root || group[pid] == root || parent[pid] in ours)) { ours[pid] = 1; more = 1 }
  } while (more)
  for (pid in ours) print pid, state[pid] }"""


def of_leader(pid: int, started: str) -> str:
    """The lister of a process that leads a session, with its session, its group and all their descendants.

    ``started`` is field 22 of its ``/proc/<pid>/stat``: a later process of the same pid has another one.
    """
    program = shlex.quote(f"{_FIELDS}\n{_FAMILY}")
    return f"cat /proc/[0-9]*/stat 2>/dev/null | awk -v root={int(pid)} -v since={shlex.quote(started)} {program}"


def of_container(identity: str) -> str:
    """The lister of everything in the cgroup of a container, from a pod that sees its processes."""
    program = shlex.quote(f"{_FIELDS}\nEND {{ for (pid in state) print pid, state[pid] }}")
    files = f"grep -ls {shlex.quote(identity)} /proc/[0-9]*/cgroup | sed 's:/cgroup$:/stat:'"
    return f"{files} | xargs -r cat 2>/dev/null | awk {program}"


def stop(lister: str) -> str:
    """The script that stops (SIGSTOP) all processes that the lister names; exit status 1 when one still runs."""
    return (
        f"round=0\n"
        f"while [ $round -lt {STOP_ROUNDS} ]; do\n"
        f"  running=$({lister} | awk '$2 !~ /[TXZ]/ {{ print $1 }}')\n"
        f'  [ -z "$running" ] && exit 0\n'
        f"  [ $round -gt 0 ] && sleep 0.01\n"
        f"  kill -STOP $running 2>/dev/null\n"
        f"  round=$((round + 1))\n"
        f"done\n"
        f'echo "still running: "$running >&2\n'
        f"exit 1\n"
    )


def go_on(lister: str) -> str:
    """The script that lets all go on (SIGCONT) that are stopped, and prints their pids; harmless when none is."""
    return (
        f"stopped=$({lister} | awk '$2 == \"T\" {{ print $1 }}')\n"
        f'[ -z "$stopped" ] || {{ kill -CONT $stopped 2>/dev/null; echo $stopped; }}\n'
        f"exit 0\n"
    )


def count_states(lister: str) -> str:
    """The script that prints how many processes there are (zombies do not count), and how many of them are stopped."""
    return f"{lister} | awk '$2 !~ /[XZ]/ {{ all++ }} $2 == \"T\" {{ stopped++ }} END {{ print all + 0, stopped + 0 }}'"
