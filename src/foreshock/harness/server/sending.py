"""How answers leave: in pieces, each of which the client must take in good time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final
from urllib.parse import quote

from aiohttp import web

from foreshock.harness.server import headers
from foreshock.harness.server.live_hub import Watch

PIECE_BYTES: Final = 256 << 10
TAKE_S: Final = 30.0
"""How long a client may take for one piece before it is given up."""
HEARTBEAT_S: Final = 10.0
RECONNECT_MS: Final = 1_000
PLAIN: Final = frozenset(
    {
        ".log",
        ".txt",
        ".json",
        ".jsonl",
        ".toml",
        ".csv",
        ".edn",
        ".md",
        ".xml",
        ".html",
        ".htm",
        ".out",
        ".err",
    }
)
"""What is shown as the text that it is. Everything else is offered to be saved."""


def page_response(text: str, *, policy: str, status: int = 200) -> web.Response:
    """A page as a whole."""
    answer = web.Response(
        status=status,
        body=text.encode("utf-8", "backslashreplace"),
        headers={**headers.EVERYWHERE, "Content-Security-Policy": policy},
    )
    answer.content_type = "text/html"
    answer.charset = "utf-8"
    return answer


async def send_file(
    request: web.BaseRequest, fd: int, name: str, *, policy: str, html: bool
) -> web.StreamResponse:
    """Send an open file, as large as it is now, and close it. What is no page is text, or is saved."""
    try:
        size = os.fstat(fd).st_size
        answer = web.StreamResponse(headers={**headers.EVERYWHERE, "Content-Security-Policy": policy})
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name, and no path
        if html:
            answer.headers["Content-Type"] = "text/html; charset=utf-8"
        elif suffix in PLAIN or not suffix:
            answer.headers["Content-Type"] = "text/plain; charset=utf-8"
        else:
            answer.headers["Content-Type"] = "application/octet-stream"
            saved_as = quote(os.fsencode(name), safe="")
            answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{saved_as}"
        answer.content_length = size
        await answer.prepare(request)
        sent = 0
        while sent < size and request.method == "GET":
            piece = await asyncio.to_thread(os.pread, fd, min(PIECE_BYTES, size - sent), sent)
            if not piece:
                answer.force_close()  # it was cut while it was sent: the client must notice
                _cut(request)
                break
            await _write(request, answer, piece)
            sent += len(piece)
        return answer
    finally:
        os.close(fd)


async def send_events(request: web.BaseRequest, watch: Watch, closing: asyncio.Event) -> web.StreamResponse:
    """Send each look at a run as an event, to its end, or the server's, or until the client goes away.

    A client that has just come, or come back, or missed a look gets all that is known; the others what has changed.
    """
    answer = web.StreamResponse(
        headers={**headers.EVERYWHERE, "Content-Security-Policy": headers.FILE_POLICY}
    )
    answer.headers["Content-Type"] = "text/event-stream; charset=utf-8"
    answer.headers["Cache-Control"] = "no-store"
    answer.force_close()
    await answer.prepare(request)
    await _write(request, answer, f"retry: {RECONNECT_MS}\n\n".encode())
    seen = 0
    ending = asyncio.ensure_future(closing.wait())
    try:
        while not closing.is_set():
            if seen == watch.version and not watch.over:
                news = asyncio.ensure_future(watch.news(seen, HEARTBEAT_S))
                await asyncio.wait({news, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not news.done():
                    news.cancel()
                    break
                if not news.result():
                    await _write(request, answer, b": nothing new\n\n")
                    continue
            if seen != watch.version:
                kind, data = (
                    ("change", watch.changes)
                    if seen and seen == watch.version - 1
                    else ("state", watch.whole)
                )
                seen = watch.version
                await _write(
                    request, answer, b"id: %d\nevent: %s\ndata: %s\n\n" % (seen, kind.encode(), data)
                )
            if watch.over:
                break
    finally:
        ending.cancel()
    return answer


async def _write(request: web.BaseRequest, answer: web.StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(TAKE_S):
            await answer.write(data)
    except TimeoutError:
        _cut(request)
        raise ConnectionResetError("the client did not take what it had asked for") from None


def _cut(request: web.BaseRequest) -> None:
    """Break the connection: what was sent is not what was promised."""
    with contextlib.suppress(AttributeError):
        if request.transport is not None:
            request.transport.abort()
