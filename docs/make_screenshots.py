"""Takes the pictures of docs/images: runs small tests and campaigns, opens their pages in a headless Chromium, looks.

::

    .venv/bin/python docs/make_screenshots.py            # all of them
    .venv/bin/python docs/make_screenshots.py campaign   # one

Everything that is in a picture has really been run a moment before. A picture is made by a function of this file,
which ``PICTURES`` lists; what two of them need is run once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
BYTES_MAX = 200_000
sys.path.insert(0, str(ROOT))

from tests.reports.browser import Browser  # noqa: E402 - it is found by the line above

CAMPAIGN = """
name = "nightly"
seeds = 3
[defaults]
time-limit = 10
backend = "sim"
[matrix]
target = ["raft", "zab"]
workload = ["register", "lock"]
nemesis = ["kill", "partition,kill", "pause"]
[[include]]
target = "raft"
workload = "register"
nemesis = "partition,kill"
bug = ["raft/stale-leader-reads", "raft/commits-old-term-by-counting"]
[[include]]
target = "naive-lock"
workload = "lock"
nemesis = ["kill", "pause"]
"""
RAFT = (
    "test", "--target", "raft", "--workload", "register", "--nemesis", "partition,kill", "--backend", "sim",
    "--time-limit", "10", "--seed", "1",
)  # fmt: skip

LIVE = ("test", "--target", "raft", "--workload", "register", "--nemesis", "partition,kill,pause", "--interval", "4",
        "--backend", "process", "--time-limit", "90", "--rate", "60")  # fmt: skip


class Studio:
    """A store for what is run, and a browser to look at it."""

    def __init__(self, folder: Path, browser: Browser) -> None:
        self.folder = folder
        self.browser = browser

    def foreshock(self, *arguments: str) -> None:
        """Run a command in the studio's folder. That a test is invalid is no failure of the picture's."""
        done = subprocess.run(
            [sys.executable, "-m", "foreshock", *arguments],
            check=False,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=900,
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"foreshock {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")

    def newest(self, pattern: str) -> Path:
        """The newest of the files that a pattern finds in the store."""
        return max((self.folder / "store").glob(pattern), key=lambda path: path.stat().st_mtime_ns)

    def take(
        self,
        name: str,
        page: Path | str,
        *,
        at: str = "body",
        script: str = "",
        until: str = "true",
        height: int = 900,
        dark: bool = False,
    ) -> None:
        """Take a picture of a page, in a file or at an address, from an element on, after a script has run in it."""
        address = page if isinstance(page, str) else page.as_uri()
        self.browser.open(address, width=1200, height=height, dark=dark)
        self.browser.send("Emulation.setScrollbarsHidden", hidden=True)
        self.browser.until("document.documentElement.classList.contains('js')")
        self.browser.until(until)
        if script:
            self.browser.evaluate(script)
        self.browser.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
        self.browser.evaluate(
            f"scrollTo(0, document.querySelector({at!r}).getBoundingClientRect().top + scrollY - 70)"
        )
        # Two frames later everything that scrolling brought into view is painted.
        self.browser.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        path = IMAGES / f"{name}.png"
        self.browser.screenshot(path)
        size = path.stat().st_size
        sys.stdout.write(f"{path.relative_to(ROOT)}  {size:,} bytes\n")
        if size > BYTES_MAX:
            raise SystemExit(f"{path} has more than {BYTES_MAX} bytes: take less of the page")
        self.browser.close_page()

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Wait until a condition holds, across a change of the page too."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.browser.evaluate(f"new Promise((done) => setTimeout(() => done({condition}), 100))"):
                    return
            except AssertionError as error:
                if "navigated" not in str(error) and "context" not in str(error):
                    raise
            if time.monotonic() > end:
                raise SystemExit(f"{condition} did not come to hold within {seconds:g} s")

    @cached_property
    def campaign(self) -> Path:
        """A campaign's page, with an earlier run of the same campaign beside it."""
        (self.folder / "nightly.toml").write_text(CAMPAIGN)
        for _ in range(2):
            self.foreshock("campaign", "nightly.toml", "--fresh", "--jobs", "2")
        return self.newest("campaigns/nightly/*/campaign.html")

    @cached_property
    def runs(self) -> None:
        """Two runs of one seed: as it should be, and with a planted bug."""
        self.foreshock(*RAFT)
        self.foreshock(*RAFT, "--bug", "raft/stale-leader-reads")


def campaign(studio: Studio) -> None:
    """The page of a campaign: its failures, and its matrix with one field opened."""
    page = studio.campaign
    studio.take("campaign", page)
    script = "document.querySelector('td.cell.failed a').click()"
    studio.take("campaign-matrix", page, at="#matrix", height=1100, script=script)


def compare(studio: Studio) -> None:
    """Two runs side by side: what differs, and both on one scale."""
    studio.runs  # noqa: B018 - runs them
    studio.foreshock("compare", "latest~1", "latest", "--html", "compare.html")
    page = studio.folder / "compare.html"
    studio.take("compare", page, height=1000)
    studio.take("compare-time", page, at="#time", dark=True)


PAINTED = (
    "new Promise((done) => { const canvas = document.querySelector('canvas');"
    "const look = () => (canvas.dataset.painted ? done() : setTimeout(look, 20)); look(); })"
)


def test_page(studio: Studio) -> None:
    """The page of a test that a planted bug has made invalid: its top, and its operations around the violation."""
    studio.foreshock(
        "test", "--target", "raft", "--workload", "register", "--nemesis", "partition,kill,pause", "--backend", "sim",
        "--bug", "raft/vote-not-persisted", "--seed", "0",
    )  # fmt: skip
    page = studio.newest("*/*/report.html")
    studio.take("test-page", page, height=1000)
    studio.take("test-logs", page, at="#fault-1", height=1000)
    studio.take("test-timeline", page, at="#explorer", height=640, script=PAINTED, dark=True)


def locks(studio: Studio) -> None:
    """Who held which lock when, where clocks jump: two held one at once."""
    studio.foreshock(
        "test", "--target", "redlock", "--workload", "lock", "--nemesis", "pause,clock", "--backend", "sim",
        "--seed", "1",
    )  # fmt: skip
    studio.take("lock-page", studio.newest("*/*/report.html"), at="#locks h2", height=860)


def cache(studio: Studio) -> None:
    """How old what a cache answered was, its hits, and the load of its origin."""
    studio.foreshock(
        "test", "--target", "memory-cache", "-o", "mode=aside", "--workload", "cache", "--nemesis", "partition,kill",
        "--backend", "sim", "--seed", "1",
    )  # fmt: skip
    studio.take("cache-page", studio.newest("*/*/report.html"), at="#cache h2", height=1120)


def serve(studio: Studio) -> None:
    """The server: its list of runs, and a real test while it runs."""
    for more in (("--bug", "raft/vote-not-persisted"), ("--nemesis", "pause"), ("--seed", "6")):
        studio.foreshock(*RAFT, *more)
    studio.foreshock(
        "test", "--target", "naive-cache", "--workload", "cache", "--nemesis", "partition", "--backend", "sim"
    )
    command = [sys.executable, "-m", "foreshock"]
    server = [*command, "serve", "--port", "0", "--json"]
    with subprocess.Popen(server, cwd=studio.folder, stdout=subprocess.PIPE) as serving:
        assert serving.stdout is not None
        address = json.loads(serving.stdout.readline())["address"]
        with subprocess.Popen([*command, *LIVE], cwd=studio.folder, stderr=subprocess.DEVNULL) as test:
            studio.browser.open(f"{address}?verdict=running")
            studio.browser.until("document.querySelector('.runs .row')")
            studio.browser.evaluate("void document.querySelector('.runs .row').click()")
            studio.wait("Number(document.querySelector('#chart')?.dataset.painted) >= 50")
            live = studio.browser.evaluate("location.href")
            studio.browser.close_page()
            for name, dark in (("serve-live", False), ("serve-live-dark", True)):
                studio.take(
                    name,
                    live,
                    height=960,
                    dark=dark,
                    until="Number(document.querySelector('#chart').dataset.painted) > 50",
                )
            for name, dark in (("serve-index", False), ("serve-index-dark", True)):
                studio.take(name, address, height=960, dark=dark)
            test.send_signal(signal.SIGINT)
        serving.send_signal(signal.SIGINT)


PICTURES: dict[str, Callable[[Studio], None]] = {
    "campaign": campaign,
    "compare": compare,
    "serve": serve,
    "test-page": test_page,
    "locks": locks,
    "cache": cache,
}


def main(names: list[str]) -> None:
    """Take the pictures of some names, or all."""
    unknown = sorted(set(names) - set(PICTURES))
    if unknown:
        raise SystemExit(f"there is no picture {unknown[0]!r}: there are {', '.join(PICTURES)}")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder) / "profile") as browser:
        studio = Studio(Path(folder), browser)
        for name in names or list(PICTURES):
            PICTURES[name](studio)


if __name__ == "__main__":
    main(sys.argv[1:])
