"""What is run on a host to start, stop and watch a node: POSIX shell scripts, and no state but files of ours.

A node has a folder on its host::

    process       pid, start time and boot of the node's process, written by itself before it becomes the node
    ended         its exit status, written when it ended
    environment   its environment, readable by its user alone
    start         becomes the node: writes ``process``, reads ``environment``, replaces itself by the command
    supervise     runs ``start`` in a session of its own and waits for it
    node.log, data/, files/, control/

A process is known by its pid, by when it started, and by the boot in which that counts (also by when the first process
of its host started, for a host that is a container). Every script looks before it sends a signal.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from foreshock.harness.backends.process_identity import NODE_VARIABLE
from foreshock.harness.errors import DeployError

LOG: Final = "node.log"
CLAIMED: Final = 3
"""The exit code of :func:`claim` for a host that another run has."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_POLLS_MAX: Final = 1000
_POLL_S: Final = "0.01"

BOOT: Final = """\
look() {
  letter=; born=; line=
  { read -r line < "/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${line##*) }
  letter=$1; shift 19; born=$1
}
boot=
{ read -r boot < /proc/sys/kernel/random/boot_id; } 2>/dev/null
look 1
boot=$boot-$born
"""
"""Sets ``boot``, and defines ``look PID``, which sets ``letter`` and ``born`` of a process (proc(5))."""

_IN_FOLDER: Final = """\
{boot}
cd {folder} 2>/dev/null || {otherwise}
runs() {{
  pid=; at=; place=
  {{ read -r pid at place < process; }} 2>/dev/null
  [ -n "$pid" ] && [ "$place" = "$boot" ] && look "$pid" && [ "$born" = "$at" ] || return 1
  case $letter in Z|X|x) return 1;; esac
}}
stands() {{ runs && case $letter in T|t) ;; *) false;; esac; }}
until_true() {{
  polls=0
  until "$@"; do polls=$((polls + 1)); [ $polls -lt {polls} ] || return 1; sleep {poll}; done
}}
"""


def _script(folder: str, body: str, *, otherwise: str = "exit 0") -> str:
    head = _IN_FOLDER.format(
        boot=BOOT, folder=shlex.quote(folder), otherwise=otherwise, polls=_POLLS_MAX, poll=_POLL_S
    )
    return head + body


def start_file(command: Sequence[str]) -> str:
    """The content of ``start``."""
    return (
        f"{BOOT}look $$\n"
        'printf "%s %s %s\\n" "$$" "$born" "$boot" > process.new && mv process.new process || exit 125\n'
        ". ./environment || exit 125\n"
        "cd data || exit 125\n"
        f"exec {shlex.join(command)}\n"
    )


def supervise_file() -> str:
    """The content of ``supervise``."""
    return (
        f"setsid /bin/sh ./start >>{LOG} 2>&1 </dev/null\n"
        'printf "%s\\n" $? > ended.new && mv ended.new ended\n'
    )


def environment_file(environment: Mapping[str, str], run: str) -> str:
    """The content of ``environment``; raises ``DeployError`` for a name that no shell takes."""
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            raise DeployError(f"the environment variable {name!r} cannot be set on a host: its name is none")
    variables = {**environment, NODE_VARIABLE: run}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def start(folder: str, run: str) -> str:
    """Start the node unless it runs, and wait until it has said who it is."""
    return _script(
        folder,
        "runs && exit 0\n"
        "rm -f process ended\n"
        f"{NODE_VARIABLE}={shlex.quote(run)} setsid /bin/sh ./supervise </dev/null >/dev/null 2>&1 &\n"
        "there() { [ -s process ] || [ -s ended ]; }\n"
        "until_true there || { echo 'its process does not come up' >&2; exit 1; }\n",
        otherwise="{ echo 'its folder is gone' >&2; exit 1; }",
    )


def start_if_there(folder: str, run: str) -> str:
    """The same for whoever heals: nothing where the node's folder has been removed already."""
    return f"[ -d {shlex.quote(folder)} ] || exit 0\n{start(folder, run)}"


def kill(folder: str) -> str:
    """Kill the node's process group and wait until its process is gone."""
    return _script(
        folder,
        "runs || exit 0\n"
        'kill -s KILL -- "-$pid" 2>/dev/null\n'
        "gone() { ! runs; }\n"
        "until_true gone || { echo 'it does not die of SIGKILL' >&2; exit 1; }\n",
    )


def pause(folder: str) -> str:
    """Stop the node's process group and wait until its process stands; nothing when it does not run."""
    return _script(
        folder,
        "runs || exit 0\n"
        'kill -s STOP -- "-$pid" 2>/dev/null\n'
        "still() { stands || ! runs; }\n"
        "until_true still || { echo 'it does not stop' >&2; exit 1; }\n",
    )


def resume(folder: str) -> str:
    """Let the node's process group go on, and wait until it does; nothing when it does not run."""
    return _script(
        folder,
        "runs || exit 0\n"
        'kill -s CONT -- "-$pid" 2>/dev/null\n'
        "going() { ! stands; }\n"
        "until_true going || { echo 'it does not go on' >&2; exit 1; }\n",
    )


def state(folder: str) -> str:
    """Print ``running PID``, ``paused PID``, ``ended STATUS`` or ``absent``."""
    return _script(
        folder,
        'if stands; then echo "paused $pid"; elif runs; then echo "running $pid"\n'
        'elif [ -s ended ]; then echo "ended $(cat ended)"; else echo absent; fi\n',
        otherwise="{ echo absent; exit 0; }",
    )


def exit_words(status: str) -> str:
    """The exit status of a shell's child in words: above 128 a signal ended it."""
    return f"signal {int(status) - 128}" if int(status) > 128 else f"exit status {status}"


def probe(folder: str, run: str, port: int) -> str:
    """Start the probe's process anew; its program is ``probe.py`` in the folder of the run."""
    quoted = shlex.quote(folder)
    return (
        f"cd {quoted} || exit 1\n"
        "rm -rf probe\n"
        f"{NODE_VARIABLE}={shlex.quote(run)} setsid python3 ./probe.py {quoted}/probe {port} "
        "</dev/null >probe.log 2>&1 &\n"
        "polls=0\n"
        "until [ -p probe/commands ]; do\n"
        f"  polls=$((polls + 1)); [ $polls -lt {_POLLS_MAX} ] && kill -0 $! 2>/dev/null "
        "|| { tail -n 1 probe.log >&2; exit 1; }\n"
        f"  sleep {_POLL_S}\n"
        "done\n"
    )


def claim(base: str, run: str) -> str:
    """Make the folders of the run, and the host ours; exit code 3 and the other run's name when it is another's."""
    quoted, folder = shlex.quote(base), shlex.quote(f"{base}/{run}")
    return (
        "umask 022\n"
        f"mkdir -m 755 {quoted} 2>/dev/null\n"
        f"[ -d {quoted} ] && [ ! -L {quoted} ] && [ -O {quoted} ] && [ -w {quoted} ] "
        f"|| {{ echo 'it is not a folder of this user' >&2; exit 1; }}\n"
        f"( set -C; echo {shlex.quote(run)} > {quoted}/claim ) 2>/dev/null "
        f"|| {{ cat {quoted}/claim; exit {CLAIMED}; }}\n"
        f"mkdir -m 700 {folder}\n"
    )


def make_folders(folder: str) -> str:
    """Make a node's folders."""
    quoted = shlex.quote(folder)
    return f"umask 022; mkdir {quoted} && cd {quoted} && mkdir data files control\n"


def tail(folder: str, limit_bytes: int) -> str:
    """Print the end of the node's log."""
    return f"tail -c {limit_bytes} {shlex.quote(folder)}/{LOG} 2>/dev/null || :\n"


def claimed_by(base: str) -> str:
    """Print the run that has the host now; nothing when none has."""
    return f"cat {shlex.quote(base)}/claim 2>/dev/null || :\n"


def end_processes(run: str) -> str:
    """End every process that carries the run in its environment; prints a line for each. Idempotent."""
    wanted = shlex.quote(f"{NODE_VARIABLE}={run}")
    return (
        "polls=0\n"
        "while :; do\n"
        f"  found=$(grep -lzxF {wanted} /proc/[0-9]*/environ 2>/dev/null)\n"
        '  [ -n "$found" ] || break\n'
        "  for file in $found; do\n"
        "    pid=${file#/proc/}; pid=${pid%/environ}\n"
        '    kill -KILL "$pid" 2>/dev/null && [ $polls = 0 ] && echo "ended process $pid"\n'
        "  done\n"
        f"  polls=$((polls + 1)); [ $polls -lt {_POLLS_MAX} ] || {{ echo 'processes do not die' >&2; exit 1; }}\n"
        f"  sleep {_POLL_S}\n"
        "done\n"
    )


def remove_files(base: str, run: str) -> str:
    """Remove the folders of the run and let the host go; prints what was there. Idempotent."""
    quoted, folder = shlex.quote(base), shlex.quote(f"{base}/{run}")
    return (
        "cd /\n"
        f"if [ -d {folder} ]; then rm -rf --one-file-system {folder} && echo removed {folder} || exit 1; fi\n"
        f'if [ "$(cat {quoted}/claim 2>/dev/null)" = {shlex.quote(run)} ]; then rm -f {quoted}/claim; fi\n'
        f"rmdir {quoted} 2>/dev/null || :\n"
    )
