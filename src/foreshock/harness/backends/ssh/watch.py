"""Watching the hosts of a test: a lost connection is found, opened again, and what was in force there is undone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from foreshock.harness.backends.ssh.connections import HostKeyError
from foreshock.harness.backends.ssh.host import SshHost
from foreshock.harness.backends.ssh.node_scripts import BOOT
from foreshock.harness.errors import HarnessError

_log = logging.getLogger("foreshock.ssh")
BEAT_S: Final = 1.0
BEAT_TIMEOUT_MS: Final = 12_000
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
INCIDENTS_MAX: Final = 50


class HostWatch:
    """Asks one host every second whether it is there and which boot it is in, until it is stopped.

    ``mend(rebooted)`` is awaited when the host is there again, before anybody else may use it. ``report`` takes each
    incident as a sentence.
    """

    def __init__(
        self,
        host: SshHost,
        boot: str,
        mend: Callable[[bool], Awaitable[str]],
        report: Callable[[str], None],
    ) -> None:
        self.rebooted = False
        """Whether the host was started anew since the test began."""
        self._host = host
        self._boot = boot
        self._mend = mend
        self._report = report
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name=f"watch of {self._host.name}")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Watch no more; idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("the watch of node %s ended", self._host.name, exc_info=task.exception())
            self._report(f"the host of node {self._host.name} is watched no more: {task.exception()!r}")

    async def _watch(self) -> None:
        while True:
            try:
                boot = await self._beat()
            except HarnessError as error:
                await self._lose(str(error))
                continue
            if (
                boot is not None and boot != self._boot
            ):  # restarted so fast that the connection did not notice
                await self._lose("its host was started anew")
                continue
            await asyncio.sleep(BEAT_S)

    async def _beat(self, *, anyway: bool = False) -> str | None:
        result = await self._host.look(f'{BOOT}echo "$boot"\n', timeout_ms=BEAT_TIMEOUT_MS, anyway=anyway)
        return None if result is None else result.stdout.strip()

    async def _lose(self, why: str) -> None:
        began = time.monotonic()
        name = self._host.name
        self._host.note_lost()
        _log.warning("the connection to the host of node %s is lost (%s): connecting anew", name, why)
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self._host.reopen()
                boot = await self._beat(anyway=True)
                rebooted = boot is not None and boot != self._boot
                mended = await self._mend(rebooted)
            except HostKeyError as error:
                self._report(f"{error}; it is left alone from now on")
                await asyncio.Event().wait()  # until this task is cancelled
            except HarnessError as error:
                _log.info("the host of node %s is not there again: %s", name, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                break
        self._boot = boot or self._boot
        self.rebooted = self.rebooted or rebooted
        self._host.note_there()
        what = "was started anew" if rebooted else "was out of reach"
        away = f"{time.monotonic() - began:.1f} s without a connection"
        self._report(f"the host of node {name} {what} in mid-test ({away}): {mended}")
