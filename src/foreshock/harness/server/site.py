"""Every address of the server, and what is answered there.

``/`` is the list of runs; ``/campaigns/`` that of campaigns; ``/store/PATH`` what lies there in the store, so that
the links of reports to logs and to other reports hold; ``/live/RUN`` the page of a running test and ``/events/RUN``
its stream of events; ``/files/PATH`` the files of any folder. Nothing is ever written.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp import web

from foreshock.harness.campaign.document import CAMPAIGN
from foreshock.harness.server import folder_pages, headers, sending
from foreshock.harness.server.index import StoreIndex, query_of
from foreshock.harness.server.live_hub import LiveHub
from foreshock.harness.server.store_files import (
    RequestError,
    folder_in_store,
    open_in_store,
    parts_of,
    path_text,
    target_of_latest,
)
from foreshock.harness.server.views import LiveView, Pages, ProblemView
from foreshock.harness.store import TEST

REPORTS: Final = {"report.html": TEST, "campaign.html": CAMPAIGN, "zoo.html": "zoo.json"}
"""The pages that our reporters leave, each in a folder that holds its source."""
STREAMS_MAX: Final = 64
PATH_LOGGED_MAX: Final = 200
TITLES: Final = {
    400: "That request cannot be read",
    403: "That is not shown",
    404: "There is nothing here",
    405: "This server only reads",
    421: "Another server was asked for",
    503: "Too busy",
}

logger = logging.getLogger("foreshock")


class Asked(NamedTuple):
    """A request for something in the store: ``parts`` say where, and ``is_folder`` that the path ended with a slash."""

    request: web.BaseRequest
    parts: tuple[str, ...]
    is_folder: bool


class Site:
    """Answers requests for one store. ``names`` are the names by which it may be asked, beside those of loopback."""

    def __init__(self, root: Path, pages: Pages, *, host: str, names: Sequence[str] = ()) -> None:
        self.root = root.absolute()
        self.closing = asyncio.Event()
        self.hub = LiveHub()
        self._pages = pages
        self._host = host
        self._names = frozenset(name.lower() for name in (host, *names))
        self._index = StoreIndex(self.root)
        self._streams = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request, whatever it is; what goes wrong is a page too."""
        try:
            return await self._answered(request)
        except RequestError as error:
            return await self._problem(error)
        except ConnectionError:
            raise  # the client went away, or did not take what it had asked for
        except Exception:
            logger.exception("%s could not be answered", request.message.path[:PATH_LOGGED_MAX])
            return await self._problem(
                RequestError(500, "The server met something that it cannot deal with.")
            )

    async def close(self) -> None:
        """End all streams and readers."""
        self.closing.set()
        await self.hub.close()

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise RequestError(405, "Nothing can be written here: GET and HEAD are all there is.")
        if request.body_exists:
            raise RequestError(400, "a request to read has no body")
        headers.check_host(request.headers.get("Host"), self._host, self._names)
        headers.check_origin(request.headers)
        path, _, query = request.message.path.partition("#")[0].partition("?")
        parts = parts_of(path)
        if not parts:
            return await self._page(lambda: self._pages.index(self._index.index(query_of(query))))
        area, inner = parts[0], parts[1:]
        if area == "campaigns" and not inner:
            return await self._page(lambda: self._pages.campaigns(self._index.campaigns()))
        answers = {"store": self._stored, "files": self._files, "live": self._live, "events": self._events}
        if area not in answers:
            raise RequestError(404, "No page of this server has that address.")
        if not inner:
            return _moved("/")
        if inner[0] == "latest":
            target = (*target_of_latest(self.root), *inner[1:])
            return _moved(f"/{area}/{path_text(target, folder=path.endswith('/') or len(target) == 2)}")
        return await answers[area](Asked(request, inner, path.endswith("/")))

    async def _page(self, make: Callable[[], str], status: int = 200) -> web.StreamResponse:
        text = await asyncio.to_thread(make)
        return sending.page_response(text, policy=headers.PAGE_POLICY, status=status)

    async def _problem(self, error: RequestError) -> web.StreamResponse:
        title = TITLES.get(error.status, "That did not work")
        view = ProblemView(error.status, title, str(error))
        answer = await self._page(lambda: self._pages.problem(view), error.status)
        if error.status == 405:
            answer.headers["Allow"] = "GET, HEAD"
        if error.status == 503:
            answer.headers["Retry-After"] = "5"
        if error.status in (400, 405):
            answer.force_close()  # nobody knows what else was sent
        return answer

    async def _stored(self, asked: Asked) -> web.StreamResponse:
        fd, found = await asyncio.to_thread(open_in_store, self.root, asked.parts)
        if stat.S_ISREG(found.st_mode):
            name, policy, html = asked.parts[-1], headers.FILE_POLICY, False
            source = REPORTS.get(name)
            if source is not None and self.root.joinpath(*asked.parts[:-1], source).is_file():
                policy, html = headers.REPORT_POLICY, True
            return await sending.send_file(asked.request, fd, name, policy=policy, html=html)
        os.close(fd)
        if not asked.is_folder:
            return _moved(f"/store/{path_text(asked.parts, folder=True)}")
        return await self._folder(asked)

    async def _folder(self, asked: Asked) -> web.StreamResponse:
        """What stands for a folder: its report, the live page while there is none, or else its files."""
        what = await asyncio.to_thread(folder_pages.stands_for, self.root.joinpath(*asked.parts))
        if what == "live":
            return _moved(f"/live/{path_text(asked.parts, folder=True)}")
        if what == "campaign":
            return await self._page(
                lambda: self._pages.campaign(folder_pages.campaign_view(self.root, asked.parts))
            )
        if what:
            fd, found = await asyncio.to_thread(open_in_store, self.root, (*asked.parts, what))
            if stat.S_ISREG(found.st_mode):
                policy = headers.REPORT_POLICY
                return await sending.send_file(asked.request, fd, what, policy=policy, html=True)
            os.close(fd)
        return await self._files(asked)

    async def _files(self, asked: Asked) -> web.StreamResponse:
        if not asked.is_folder:
            return _moved(f"/files/{path_text(asked.parts, folder=True)}")
        return await self._page(lambda: self._pages.folder(folder_pages.folder_view(self.root, asked.parts)))

    async def _run(self, parts: tuple[str, ...]) -> Path:
        folder = await asyncio.to_thread(folder_in_store, self.root, parts)
        if not (folder / TEST).is_file():
            raise RequestError(404, "That folder is no run.")
        return folder

    async def _live(self, asked: Asked) -> web.StreamResponse:
        if not asked.is_folder:
            return _moved(f"/live/{path_text(asked.parts, folder=True)}")
        run = await self._run(asked.parts)
        async with self.hub.watching(run) as watch:
            document: dict[str, Any] = watch.document
        view: LiveView = await asyncio.to_thread(folder_pages.live_view, self.root, asked.parts, document)
        return await self._page(lambda: self._pages.live(view))

    async def _events(self, asked: Asked) -> web.StreamResponse:
        run = await self._run(asked.parts)
        if asked.request.method == "HEAD":
            raise RequestError(405, "A stream of events can only be read with GET.")
        if self._streams >= STREAMS_MAX:
            raise RequestError(503, f"{STREAMS_MAX} pages are looking on already: close one of them.")
        self._streams += 1
        try:
            async with self.hub.watching(run) as watch:
                return await sending.send_events(asked.request, watch, self.closing)
        finally:
            self._streams -= 1


def _moved(address: str) -> web.StreamResponse:
    """To another page of this server. The address begins with one slash, so that it is never another server's."""
    return web.Response(status=302, headers={**headers.EVERYWHERE, "Location": address})
