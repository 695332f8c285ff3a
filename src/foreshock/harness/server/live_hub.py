"""One reader a run, however many look on: it reads twice a second while anybody does, and is gone soon after."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from foreshock.harness.server.live_run import LiveRun
from foreshock.harness.server.store_files import RequestError

EVERY_S: Final = 0.5
CATCH_UP_S: Final = 0.3
"""How long it reads on in a history that is far ahead, before it tells of it."""
EVERY_IDLE_S: Final = 2.0
"""How often a run is looked at of which nothing new is expected."""
LINGER_S: Final = 5.0
"""How long a reader waits for its viewers to come back, as one does that loads its page again."""
WATCHED_MAX: Final = 32
FIRST_LOOK_S: Final = 10.0

logger = logging.getLogger("foreshock")


class _Look(NamedTuple):
    """What one look at a run came to; ``more``: there is more of the history to be read."""

    document: dict[str, Any]
    whole: bytes
    changes: bytes
    over: bool
    more: bool


class Watch:
    """One run that is watched. ``version`` counts the looks; ``whole`` and ``changes`` are of the last one, as JSON."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.version = 0
        self.document: dict[str, Any] = {}
        self.whole = b"{}"
        self.changes = b"{}"
        self.over = False
        self.viewers = 0
        self._live = LiveRun(run)
        self._news = asyncio.Event()

    async def read_on(self) -> None:
        """Look again and again, until the test is over."""
        try:
            while True:
                look = await asyncio.to_thread(self._look)
                # All at once, and here: whoever sends is in this thread, too, and must not mix two versions.
                self.document, self.whole, self.changes, self.over = look[:4]
                self.version += 1
                self._news.set()
                self._news = asyncio.Event()
                if self.over:
                    return
                pause_s = EVERY_S if self._live.state == "running" else EVERY_IDLE_S
                await asyncio.sleep(0.0 if look.more else pause_s)
        finally:
            self.over = True
            self._news.set()

    def _look(self) -> _Look:
        until = time.monotonic() + CATCH_UP_S
        more = self._live.advance()
        while more and time.monotonic() < until:
            more = self._live.advance()
        changes = self._live.changes()
        document = {**changes, "timeline": self._live.whole()["timeline"]}
        encode = msgspec.json.Encoder(enc_hook=str).encode
        over = self._live.state == "finished" and not more
        return _Look(document, encode(document), encode(changes), over, more)

    async def news(self, seen: int, timeout_s: float) -> bool:
        """Wait until there is another version than the one that was seen; false when the time is up first."""
        if self.version == seen and not self.over:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return False
        return True


class LiveHub:
    """The watches of a server. At most :data:`WATCHED_MAX` runs are watched at a time."""

    def __init__(self) -> None:
        self._watches: dict[Path, Watch] = {}
        self._tasks: dict[Path, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def watching(self, run: Path) -> AsyncIterator[Watch]:
        """The watch of a run, which has been looked at; raises :class:`RequestError` when too many are watched."""
        watch = self._watches.get(run)
        if watch is None:
            watch = self._begin(run)
        watch.viewers += 1
        try:
            if watch.version == 0 and not await watch.news(0, FIRST_LOOK_S):
                raise RequestError(503, "the run could not be read in time: try again")
            yield watch
        finally:
            watch.viewers -= 1
            if watch.viewers == 0:
                asyncio.get_running_loop().call_later(LINGER_S, self._end_unwatched, run, watch)

    def _begin(self, run: Path) -> Watch:
        if len(self._watches) >= WATCHED_MAX:
            idle = next((known for known, watch in self._watches.items() if not watch.viewers), None)
            if idle is None:
                raise RequestError(503, f"{WATCHED_MAX} runs are being watched, and no more at a time can be")
            self._end(idle)
        watch = self._watches[run] = Watch(run)
        task = self._tasks[run] = asyncio.create_task(watch.read_on(), name=f"watch {run.name}")
        task.add_done_callback(lambda ended: self._ended(run, watch, ended))
        return watch

    def _ended(self, run: Path, watch: Watch, task: asyncio.Task[None]) -> None:
        """A watch that broke is not kept: whoever looks next begins a new one."""
        if task.cancelled() or task.exception() is None:
            return
        logger.error("the run %s can no longer be watched", run, exc_info=task.exception())
        if self._watches.get(run) is watch:
            del self._watches[run], self._tasks[run]

    def _end_unwatched(self, run: Path, watch: Watch) -> None:
        if self._watches.get(run) is watch and not watch.viewers:
            self._end(run)

    def _end(self, run: Path) -> None:
        self._tasks.pop(run).cancel()
        del self._watches[run]

    async def close(self) -> None:
        """End every reader."""
        tasks = list(self._tasks.values())
        for run in list(self._watches):
            self._end(run)
        await asyncio.gather(*tasks, return_exceptions=True)
