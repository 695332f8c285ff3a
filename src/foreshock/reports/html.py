"""The HTML report: one self-contained page a test, readable from disk without a network and without JavaScript."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from foreshock.harness.errors import HarnessError
from foreshock.harness.reporter import Reporter
from foreshock.reports.page import Page, page_of
from foreshock.reports.scales import bytes_text, counted, duration, moment, number
from foreshock.reports.stored_run import read_run

REPORT = "report.html"
_SCRIPTS = ("unpack.js", "painter.js", "explorer.js", "page.js")


class HtmlReporter(Reporter):
    """Writes ``report.html`` into the run's folder.

    It needs nothing but ``test.json``; what else the run left is shown, and what is missing is said. Raises
    :class:`HarnessError` when a file of the run cannot be understood or the page cannot be written.
    """

    name = "html"

    def report(self, run: Path) -> Path:
        """Render a stored run; returns the path of the page."""
        html = render(page_of(read_run(run)))
        target, temporary = run / REPORT, run / f".{REPORT}.{os.getpid()}"
        try:
            # A reader never meets half a page.
            temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
            temporary.replace(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise HarnessError(f"the report {target} cannot be written: {error.strerror}") from error
        return target


def render(page: Page) -> str:
    """The page as HTML."""
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            style=Markup(_asset("report.css")),
            script=Markup(script),
            # Only our own script may run, whatever a history's values look like.
            policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
            "img-src data:; base-uri 'none'; form-action 'none'",
        )
    )


def embed_json(document: bytes) -> Markup:
    """JSON for a script element: no character in it can end the element or begin a comment."""
    text = document.decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _script() -> str:
    # The script's element begins and ends with a line break, which its digest counts too.
    return "\n" + "\n".join(_asset(name) for name in _SCRIPTS) + "\n"


@cache
def _asset(name: str) -> str:
    return (files("foreshock.reports") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("foreshock.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": bytes_text,
        "counted": counted,
        "duration": duration,
        "embed": embed_json,
        "moment": moment,
        "number": number,
    }
    return environment
