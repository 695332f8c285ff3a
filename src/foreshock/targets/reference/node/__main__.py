"""The command line of a node: ``python node.pyz --name n1 --listen 127.0.0.1:7001 ...``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from foreshock.targets.reference.node.addresses import parse_address, parse_peers
from foreshock.targets.reference.node.clock import FileClock, NodeClock, event_loop
from foreshock.targets.reference.node.configuration import NodeConfiguration, load_bug, parse_knobs
from foreshock.targets.reference.node.disk import DirectoryFiles
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.knob_help import knob_help
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.programs import PROGRAMS, load_program
from foreshock.targets.reference.node.server import Ended, NodeExit, Server, disk_sentence

_PROGRAM: Final = "raft"

_DESCRIPTION = """\
One node of a replicated register, lock and cache service: JSON lines over TCP, the protocol by --program.
It needs nothing but Python 3.11 and keeps all it knows in its data directory."""

_EXAMPLE = """\
example: one node, and a client by hand
  python node.pyz --name n1 --listen 127.0.0.1:7001 --data /tmp/n1 &
  echo '{"body": {"type": "write", "key": "x", "value": 1, "msg_id": 1}}' | nc -q 1 127.0.0.1 7001
  echo '{"body": {"type": "read", "key": "x", "msg_id": 2}}' | nc -q 1 127.0.0.1 7001
  echo '{"body": {"type": "status"}}' | nc -q 1 127.0.0.1 7001

a cluster of three (so for each of n1, n2 and n3, on one machine or on three)
  python node.pyz --name n1 --listen 0.0.0.0:7001 --data /tmp/n1 \\
      --peer n2=127.0.0.1:7002 --peer n3=127.0.0.1:7003

requests (in "body"; replies carry "in_reply_to", or "type": "error" with a code and a text)
  read KEY   write KEY VALUE   cas KEY FROM TO            registers
  get KEY [VERSION]   put KEY VALUE   delete KEY          the cache and its origin
  acquire KEY [WAIT_MS] [MODE] [PERMITS]   await   withdraw   renew   release KEY [TOKEN]   holder KEY     locks
  open [TTL_MS]   close CLIENT                            sessions
  status   add_member NODE   remove_member NODE   transfer_leadership [NODE]
With "client" (from open) and "seq" (1, 2, ...) a request that is sent again takes effect once; locks need both.

exit codes: 0 stopped by a signal, 1 a fault of the node's own, 2 usage, 3 cannot listen,
  4 the data directory cannot be trusted or is in use, 5 the disk refused (full, not writable)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node until it is told to stop; returns the exit code."""
    parser = _parser()
    parser.program = _program_named(arguments)
    given = parser.parse_args(arguments)
    try:
        listen = parse_address(given.listen)
        peers = parse_peers(given.peer)
        configuration = _configuration(given, tuple(peers))
        clock = NodeClock() if given.clock is None else FileClock(given.clock)
    except ValueError as problem:
        parser.error(str(problem))
    except OSError as problem:
        parser.error(f"--clock {given.clock} cannot be read: {problem.strerror or problem}")
    try:
        server = Server(configuration, listen, peers, DirectoryFiles(given.data), _log, clock=clock)
    except OSError as problem:
        return _finish(configuration.name, Ended(NodeExit.DISK, disk_sentence(problem)))
    except NodeFailure as problem:
        return _finish(configuration.name, Ended(NodeExit.CORRUPT, str(problem)))
    gc.collect()
    gc.freeze()  # what was made so far stays for good: no later collection need look at it
    with asyncio.Runner(loop_factory=partial(event_loop, clock)) as runner:
        ended = runner.run(server.run())
    return _finish(configuration.name, ended)


def _program_named(arguments: Sequence[str] | None) -> str:
    """The program that the command line names, for its help; the default when it names none, or none that there is."""
    early = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    early.add_argument("--program", default=_PROGRAM)
    try:
        named = str(early.parse_known_args(arguments)[0].program)
    except argparse.ArgumentError:
        return _PROGRAM
    return named if named in PROGRAMS else _PROGRAM


def _knobs(program: str) -> str:
    """The knobs that ``--set`` may tune, for the help."""
    own = knob_help(
        f"knobs of {program} (--program NAME --help tells another's):", load_program(program).knobs
    )
    return f"{own}\n\n{knob_help('knobs of every node:', NodeKnobs)}"


class _Parser(argparse.ArgumentParser):
    """A parser whose help tells the knobs of a program, which are looked up for it alone."""

    program = _PROGRAM

    def format_help(self) -> str:
        """The help, with the knobs at its end."""
        self.epilog = f"{_EXAMPLE}\n\n{_knobs(self.program)}"
        return super().format_help()


def _parser() -> _Parser:
    parser = _Parser(
        prog="node.pyz",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", required=True, help="the node's name, such as n1")
    parser.add_argument(
        "--listen", required=True, metavar="HOST:PORT", help="where peers and clients connect"
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=HOST:PORT",
        help="another node and how this one reaches it (once for each)",
    )
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="the node's own directory")
    parser.add_argument(
        "--members",
        metavar="NAME,NAME",
        help="the cluster's first members, when not all nodes are (default: this node and all peers)",
    )
    parser.add_argument(
        "--program",
        default=_PROGRAM,
        choices=sorted(PROGRAMS),
        help="what the node runs (default: %(default)s); all nodes of a cluster run the same",
    )
    parser.add_argument(
        "--cluster", default="foreshock", metavar="NAME", help="peers of another cluster are turned away"
    )
    parser.add_argument(
        "--clock",
        type=Path,
        metavar="FILE",
        help="run by the clocks that this file says, as a test that skews clocks writes it",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="tune a knob of the node or of its program (below: all of them, with their defaults)",
    )
    parser.add_argument(
        "--bug", metavar="NAME", help="run with a planted bug, such as raft/vote-not-persisted"
    )
    return parser


def _configuration(given: argparse.Namespace, peers: tuple[str, ...]) -> NodeConfiguration:
    """The configuration that the command line gives; raises ``ValueError`` with a sentence."""
    if given.name in peers:
        raise ValueError(f"--peer {given.name!r} is this node itself; name only the others")
    settings: dict[str, str] = {}
    for text in given.set:
        knob, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--set {text!r} must be KNOB=VALUE, such as heartbeat_ms=50")
        settings[knob] = value
    everybody = tuple(sorted((given.name, *peers)))
    members = everybody if given.members is None else tuple(sorted(given.members.split(",")))
    for member in members:
        if member not in everybody:
            raise ValueError(f"--members names {member!r}, which is neither this node nor a --peer")
    if given.bug is not None:
        load_bug(given.bug)
    program_knobs, knobs = parse_knobs(settings, load_program(given.program).knobs)
    return NodeConfiguration(
        name=given.name,
        members=members,
        program=given.program,
        program_knobs=program_knobs,
        cluster=given.cluster,
        knobs=knobs,
        bug=given.bug,
    )


def _log(sentence: str) -> None:
    now = time.time()  # the machine's, whatever --clock says: logs are there to be laid side by side
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    sys.stderr.write(f"{stamp}.{int(now * 1000) % 1000:03d}Z {sentence}\n")
    sys.stderr.flush()


def _finish(name: str, ended: Ended) -> int:
    _log(f"{name} {'stops' if ended.code is NodeExit.STOPPED else 'fails'}: {ended.sentence}")
    return int(ended.code)


if __name__ == "__main__":
    sys.exit(main())
