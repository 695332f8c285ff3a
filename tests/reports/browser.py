"""A headless Chromium that a test drives through the DevTools protocol over a pipe: no driver, no port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

DEADLINE_S = 240.0
_FD_MIN = 50


def chromium() -> str | None:
    """The browser's path, or ``None`` where there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        None,
    )


def _above(fd: int) -> int:
    """The same file under a number that cannot collide with the 3 and 4 that the browser wants."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD, _FD_MIN)
    os.close(fd)
    return moved


class Browser:
    """One browser process; pages are opened one after the other."""

    def __init__(self, profile: Path) -> None:
        path = chromium()
        assert path is not None
        their_in, self._out = map(_above, os.pipe())
        self._in, their_out = map(_above, os.pipe())
        # In a container shared memory may be small: a page that is large would take its renderer along.
        flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe"
        flags = f"{flags} --user-data-dir={profile}"
        command = f'exec "$0" {flags} about:blank 3<&{their_in} 4>&{their_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, path],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(their_in)
        os.close(their_out)
        self._buffer, self._number, self._session, self._target = b"", 0, "", ""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
        on_new_document: str = "",
    ) -> None:
        """Open a page in a new tab and wait until it is loaded; ``on_new_document`` runs before the page's scripts."""
        self._session = ""
        self._target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        if not scripts:
            self.send("Emulation.setScriptExecutionDisabled", value=True)
        if on_new_document:
            self.send("Page.addScriptToEvaluateOnNewDocument", source=on_new_document)
        self.send("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def close_page(self) -> None:
        """Close the tab that was opened last; what it held in memory is free again."""
        self._session = ""
        self.send("Target.closeTarget", targetId=self._target)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def wait_for(self, event: str) -> None:
        """Wait until the page has sent an event."""
        while not any(seen["method"] == event for seen in self.events):
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait in the page, frame by frame, until an expression holds."""
        look = (
            f"({condition}) ? done(true) : Date.now() > end ? fail(new Error('never')) : setTimeout(look, 10)"
        )
        setting = f"const end = Date.now() + {DEADLINE_S * 500}, look = () => {{ {look}; }};"
        assert self.evaluate(f"new Promise((done, fail) => {{ {setting} look(); }})")

    def press(self, key: str, **more: Any) -> None:
        """Press and release one key."""
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move or click at a point of the window."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def screenshot(self, path: Path) -> None:
        """Store what is seen."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """Everything that the console, the page's scripts or a dialogue said against the page."""
        found = []
        for event in self.events:
            body = event.get("params", {})
            match event["method"]:
                case "Runtime.exceptionThrown" | "Page.javascriptDialogOpening":
                    found.append(json.dumps(body))
                case "Log.entryAdded" if body["entry"]["level"] in ("error", "warning"):
                    found.append(body["entry"]["text"])
                case "Runtime.consoleAPICalled" if body["type"] in ("error", "warning", "assert"):
                    found.append(json.dumps(body["args"]))
        return found

    def requests(self) -> list[str]:
        """The addresses of everything that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        if "method" in message and message.get("sessionId", "") == self._session:
            self.events.append(message)
            if message["method"] == "Page.javascriptDialogOpening":
                self._number += 1
                accept = {
                    "id": self._number,
                    "method": "Page.handleJavaScriptDialog",
                    "params": {"accept": True},
                }
                os.write(self._out, json.dumps(accept | {"sessionId": self._session}).encode() + b"\0")
        return message
