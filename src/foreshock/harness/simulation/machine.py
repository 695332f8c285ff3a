"""One simulated machine: carries a program, and is its clock, disk, timers and network card."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.clock import BILLION, NodeClock
from foreshock.harness.simulation.connection import ProgramEnd
from foreshock.harness.simulation.disk import SimDisk
from foreshock.harness.simulation.network import TABLE_BITS, TABLE_MASK
from foreshock.harness.simulation.node_log import NodeLog
from foreshock.harness.simulation.program import Program
from foreshock.harness.simulation.scheduler import Action

if TYPE_CHECKING:
    from foreshock.harness.simulation.shaping import ShapedLink
    from foreshock.harness.simulation.world import SimWorld

RUNNING: Final = "running"
PAUSED: Final = "paused"
KILLED: Final = "killed"
CRASHED: Final = "crashed"

NEVER: Final = 1 << 100
BACKLOG_EVENTS_MAX: Final = 65_536
"""How many events a paused node can owe; datagrams past that are lost, as from a full socket buffer."""


class ProgramError(NamedTuple):
    """A program that raised: its node, when, and the traceback as text."""

    node: str
    time_ns: int
    error: str
    traceback: str


class ProgramExit(BaseException):
    """Leaves a program that asked its machine to crash."""


class SimMachine:
    """What a program sees of the simulator, and what the simulator sees of the program."""

    __slots__ = (
        "_backlog",
        "_life",
        "_log",
        "_make_program",
        "_next_number",
        "_program",
        "_rare",
        "_routes",
        "_timers",
        "_world",
        "bits",
        "blocked",
        "clock",
        "deaf",
        "delays",
        "disk",
        "ends",
        "hindered",
        "impeded",
        "inbound",
        "knobs",
        "name",
        "scheduler",
        "state",
    )

    _program: Program

    def __init__(
        self,
        world: SimWorld,
        name: str,
        make_program: Callable[[SimMachine], Program],
        routes: Mapping[str, Action],
    ) -> None:
        self.name = name
        self.scheduler = scheduler = world.scheduler
        self.knobs = knobs = world.knobs
        self.clock = NodeClock(scheduler, self._slewed)
        self.disk = SimDisk(scheduler, knobs, world.random(f"disk/{name}"), self.synced, self.refused)
        self.bits = world.random(f"network/{name}").bits
        self.delays = world.delays
        self.deaf: frozenset[str] = frozenset()
        """The senders that this node does not hear."""
        self.inbound: Mapping[str, ShapedLink] = {}
        """The links to this node that have a shape, by sender."""
        self.blocked: frozenset[str] = frozenset()
        """The senders of whose connections nothing gets through: those not heard, and those whose shape loses all."""
        self.impeded: frozenset[str] = frozenset()
        """The senders of whose connections messages have to wait, for ever or for a while."""
        self.ends: dict[int, ProgramEnd] = {}
        """The connections of the program, by number."""
        self.state = KILLED
        self.hindered = True
        """Whether a look at the state is due before anything is delivered."""
        self._world = world
        self._make_program = make_program
        self._routes = routes
        self._rare = world.chances[-1]
        self._timers: dict[Any, list[int]] = {}
        self._backlog: list[tuple[Action, Any, Any]] = []
        self._life = 0
        self._next_number = 1
        self._log = NodeLog()

    # --- what the program asks for ------------------------------------------------------------------------

    def now(self) -> int:
        """The node's own monotonic clock in ns: it may drift, and never jumps."""
        return self.scheduler.now if self.clock.true else self.clock.now()

    def wall_now(self) -> int:
        """The node's own wall clock in ns: it may drift, and jump both ways."""
        return self.clock.wall_now()

    def random(self, name: str) -> RandomStream:
        """A named stream of randomness of this node; the same name goes on after a restart."""
        return self._world.random(f"node/{self.name}/{name}")

    def send(self, destination: str, message: Any) -> None:
        """Send a datagram; one to a node that does not exist is lost."""
        deliver = self._routes.get(destination)
        if deliver is None:
            return
        draw = self.bits(32)
        if draw >> TABLE_BITS < self._rare:
            self._send_rarely(draw, deliver, message)
            return
        scheduler = self.scheduler
        heappush(
            scheduler.heap,
            (
                scheduler.now + self.delays[draw & TABLE_MASK],
                scheduler.sequence(),
                deliver,
                self.name,
                message,
            ),
        )

    def connect(self, destination: str) -> int:
        """Open a FIFO connection; ``on_open`` or ``on_close`` with this number follows."""
        end = ProgramEnd(self, self._take_number(), destination)
        end.dialled = True
        self.ends[end.number] = end
        self._world.dial(end, self.name, destination)
        return end.number

    def write(self, connection: int, message: Any) -> None:
        """Send on a connection; on one that is closed it does nothing."""
        end = self.ends.get(connection)
        if end is not None:
            end.transmit(end.peer.message, message)

    def close(self, connection: int) -> None:
        """Close a connection; its other end hears of it after all that was written."""
        end = self.ends.pop(connection, None)
        if end is not None:
            end.shut(f"{self.name} closed the connection")

    def set_timer(self, delay_ns: int, token: Any) -> None:
        """Call ``on_timer(token)`` once after the delay; an equal token replaces the earlier timer."""
        if not self.clock.true:
            delay_ns = self.clock.true_duration(delay_ns)
        scheduler = self.scheduler
        deadline_ns = scheduler.now + delay_ns if delay_ns > 0 else scheduler.now
        timer = self._timers.get(token)
        if timer is not None and timer[1] <= deadline_ns:
            timer[0] = deadline_ns  # an event is on its way that comes no later: it will look again
            return
        self._timers[token] = timer = [deadline_ns, deadline_ns]
        heappush(scheduler.heap, (deadline_ns, scheduler.sequence(), self._timer, token, timer))

    def cancel_timer(self, token: Any) -> None:
        """Forget the timer; one that is not set is no error."""
        timer = self._timers.get(token)
        if timer is not None:
            timer[0] = NEVER

    def log(self, line: str) -> None:
        """One line to the node's log; the oldest lines go when there are too many."""
        self._log.add(self.scheduler.now, line)

    def crash(self, reason: str) -> NoReturn:
        """The program gives up: it is left at once, and the node ends as if it had exited."""
        raise ProgramExit(reason)

    # --- what the world does to it ------------------------------------------------------------------------

    def start(self) -> None:
        """Make a new program on the same disk and let it start now; on a node that is up it does nothing."""
        if self.state in (RUNNING, PAUSED):
            return
        self.state = RUNNING
        self._life += 1
        self.log("-- started --")
        self.scheduler.soon(self._begin, self._life, None)
        self._reconsider()

    def kill(self, state: str = KILLED) -> None:
        """End the program, as SIGKILL would; on a node that is down it does nothing.

        What it has written is the kernel's: it is there after the next start, synced or not.
        """
        if self.state not in (RUNNING, PAUSED):
            return
        self.state = state
        self._life += 1
        self.log(f"-- {state} --")
        ends, self.ends = self.ends, {}
        for end in ends.values():
            end.shut(f"{self.name} went down")
        self._timers.clear()
        self._backlog.clear()
        self.disk.detach()
        self._reconsider()
        if hasattr(self, "_program"):
            del self._program

    def cut_power(self) -> None:
        """End the program, if one runs, and lose what the disk has not made durable."""
        self.kill()
        self.log("-- the power is cut --")
        self.clock.reboot()
        self.disk.crash(self._world.random(f"crash/{self.name}"))

    def pause(self) -> None:
        """Let the program do nothing while the world goes on around it."""
        if self.state == RUNNING:
            self.state = PAUSED
            self.log("-- paused --")
            self._reconsider()

    def resume(self) -> None:
        """Let the program go on: first it gets, in order, all that it has missed."""
        if self.state == PAUSED:
            self.state = RUNNING
            self.log("-- resumed --")
            self._reconsider()
            backlog, self._backlog = self._backlog, []
            self.scheduler.soon(self._catch_up, self._life, backlog)

    def hear(self, deaf: frozenset[str]) -> None:
        """From now on hear everybody but these; what connections held back goes on."""
        self.deaf = deaf
        self._reconsider()
        self._reconsider_connections()

    def shape(self, routes: Mapping[str, Action], inbound: Mapping[str, ShapedLink]) -> None:
        """From now on datagrams go by these routes, and these links to this node have a shape, or another one."""
        self._routes = routes
        if inbound or self.inbound:
            self.inbound = inbound
            self._reconsider_connections()

    def logs(self) -> list[str]:
        """The node's log, each line with the virtual time in seconds before it."""
        return self._log.lines()

    # --- what arrives -------------------------------------------------------------------------------------

    def datagram(self, source: str, message: Any) -> None:
        """A datagram arrives."""
        if self.hindered and (source in self.deaf or not self.attends(self.datagram, source, message)):
            return
        try:
            self._program.on_datagram(source, message)
        except (Exception, ProgramExit) as error:  # noqa: BLE001 - the program's bug crashes its node, not the harness
            self._fail(error)
            return
        if self._world.after_step is not None:
            self._world.after_step(self.name, self._program)

    def message(self, number: int, message: Any) -> None:
        """A message arrives on an open connection of a running program."""
        try:
            self._program.on_message(number, message)
        except (Exception, ProgramExit) as error:  # noqa: BLE001 - as above
            self._fail(error)
            return
        if self._world.after_step is not None:
            self._world.after_step(self.name, self._program)

    def synced(self, token: object, _: None) -> None:
        """The disk has made something durable."""
        if self.hindered and not self.attends(self.synced, token):
            return
        try:
            self._program.on_synced(token)
        except (Exception, ProgramExit) as error:  # noqa: BLE001 - as above
            self._fail(error)
            return
        if self._world.after_step is not None:
            self._world.after_step(self.name, self._program)

    def refused(self, token: object, _: None) -> None:
        """The disk could not make something durable: a program that was promised nothing ends, as ours do."""
        if self.hindered and not self.attends(self.refused, token):
            return
        self._fail(ProgramExit("the disk refused: Input/output error"))

    def opened(self, number: int, source: str, accepted: bool) -> None:
        """A connection is up at a running program."""
        self._call(lambda: self._program.on_open(number, source, accepted=accepted))

    def closed(self, number: int) -> None:
        """A connection of a running program is gone."""
        self.ends.pop(number, None)
        self._call(lambda: self._program.on_close(number))

    def accept(self, end: ProgramEnd) -> bool:
        """Take in a connection (the kernel does, even for a paused program); false when nothing runs."""
        if self.state not in (RUNNING, PAUSED):
            return False
        end.number = self._take_number()
        self.ends[end.number] = end
        return True

    def attends(self, function: Action, first: Any, second: Any = None) -> bool:
        """Whether the program takes the event now; a paused one owes it, one that is down never will."""
        if self.state == RUNNING:
            return True
        if self.state == PAUSED and (len(self._backlog) < BACKLOG_EVENTS_MAX or function != self.datagram):
            self._backlog.append((function, first, second))
        return False

    # --- inside -------------------------------------------------------------------------------------------

    def _timer(self, token: Any, timer: list[int]) -> None:
        if self._timers.get(token) is not timer:
            return
        scheduler = self.scheduler
        deadline_ns = timer[0]
        if deadline_ns > scheduler.now:
            if deadline_ns == NEVER:
                del self._timers[token]
                return
            timer[1] = deadline_ns
            heappush(scheduler.heap, (deadline_ns, scheduler.sequence(), self._timer, token, timer))
            return
        if self.hindered and not self.attends(self._timer, token, timer):
            return
        del self._timers[token]
        try:
            self._program.on_timer(token)
        except (Exception, ProgramExit) as error:  # noqa: BLE001 - as above
            self._fail(error)
            return
        if self._world.after_step is not None:
            self._world.after_step(self.name, self._program)

    def _slewed(self, before_ppb: int) -> None:
        """The clocks run at another rate from now on: what a timer has left is left by the clock, not in true time."""
        scheduler, clock = self.scheduler, self.clock
        for token, timer in self._timers.items():
            left_ns = timer[0] - scheduler.now
            if timer[0] == NEVER or left_ns <= 0:
                continue
            local_ns = left_ns + left_ns * before_ppb // BILLION
            timer[0] = scheduler.now + clock.true_duration(local_ns)
            if timer[0] < timer[1]:
                timer[1] = timer[0]
                heappush(scheduler.heap, (timer[0], scheduler.sequence(), self._timer, token, timer))

    def _catch_up(self, life: int, backlog: list[tuple[Action, Any, Any]]) -> None:
        for function, first, second in backlog:
            if life != self._life:
                return
            function(first, second)

    def _begin(self, life: int, _: None) -> None:
        if life != self._life or (self.state != RUNNING and not self.attends(self._begin, life)):
            return
        self._call(self._make)

    def _make(self) -> None:
        self._program = self._make_program(self)
        self._program.on_start()

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except (Exception, ProgramExit) as error:  # noqa: BLE001 - as above
            self._fail(error)
            return
        if self._world.after_step is not None:
            self._world.after_step(self.name, self._program)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, ProgramExit) or self.disk.may_have_caused(error):
            self.log(f"the program exits: {error}")
        else:
            text = "".join(traceback.format_exception(error))
            for line in text.splitlines():
                self.log(line)
            self._world.program_failed(
                ProgramError(self.name, self.scheduler.now, f"{type(error).__name__}: {error}", text)
            )
        self.kill(CRASHED)

    def _send_rarely(self, draw: int, deliver: Action, message: Any) -> None:
        roll = draw >> TABLE_BITS
        lost, duplicated, _ = self._world.chances
        if roll < lost:
            return
        delay_ns = self.delays[draw & TABLE_MASK]
        if roll < duplicated:
            self.scheduler.after(self.delays[self.bits(TABLE_BITS)], deliver, self.name, message)
        else:
            delay_ns += self.knobs.reorder_delay_ns * self.bits(TABLE_BITS) >> TABLE_BITS
        self.scheduler.after(delay_ns, deliver, self.name, message)

    def probe(self, deliver: Action, destination: str) -> None:
        """Send ``deliver(sender, destination)`` through the network as a datagram of this machine's kernel."""
        draw = self.bits(32)
        if draw >> TABLE_BITS >= self._world.chances[0]:
            self.scheduler.after(self.delays[draw & TABLE_MASK], deliver, self.name, destination)

    def _take_number(self) -> int:
        number = self._next_number
        self._next_number = number + 1
        return number

    def _reconsider_connections(self) -> None:
        inbound = self.inbound
        self.blocked = self.deaf | {sender for sender, link in inbound.items() if link.stalls}
        self.impeded = self.deaf.union(inbound)
        for end in list(self.ends.values()):
            end.released()

    def _reconsider(self) -> None:
        self.hindered = self.state != RUNNING or bool(self.deaf)
