"""Takes the pictures of docs/images: runs small tests and campaigns, opens their pages in a headless Chromium, looks.

::

    .venv/bin/python docs/make_screenshots.py            # all of them
    .venv/bin/python docs/make_screenshots.py campaign   # one

Everything that is in a picture has really been run a moment before. A picture is made by a function of this file,
which ``PICTURES`` lists; what two of them need is run once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
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
        page: Path,
        *,
        at: str = "body",
        script: str = "",
        height: int = 900,
        dark: bool = False,
    ) -> None:
        """Take a picture of a page from an element on, after a script has run in it."""
        self.browser.open(page.as_uri(), width=1200, height=height, dark=dark)
        self.browser.send("Emulation.setScrollbarsHidden", hidden=True)
        self.browser.until("document.documentElement.classList.contains('js')")
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


PICTURES: dict[str, Callable[[Studio], None]] = {"campaign": campaign, "compare": compare}


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
