"""From a template to one self-contained file: style and scripts inside, and only our own script may run."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from foreshock.harness.errors import HarnessError
from foreshock.reports.operation_text import presentable
from foreshock.reports.scales import bytes_text, counted, duration, moment, number


def render(template: str, scripts: Sequence[str], styles: Sequence[str] = (), **values: Any) -> str:
    """The page of a template. Everything in ``values`` is plain text and is escaped, unless it is ``Markup``.

    ``scripts`` and ``styles`` are names of assets; every page has ``report.css``, and ``styles`` come after it.
    """
    # The script's element begins and ends with a line break, which its digest counts too.
    script = "\n" + "\n".join(_asset(name) for name in scripts) + "\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup("\n".join(_asset(name) for name in ("report.css", *styles))),
            script=Markup(script),
            # Only our own script may run, whatever a history's values look like.
            policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
            "img-src data:; base-uri 'none'; form-action 'none'",
        )
    )


def write_page(path: Path, html: str) -> Path:
    """Write a page whole or not at all, and return its path; raises :class:`HarnessError` when it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # A reader never meets half a page.
        temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HarnessError(f"the report {path} cannot be written: {error.strerror}") from error
    return path


def embed_json(document: bytes) -> Markup:
    """JSON for a script element: no character in it can end the element or begin a comment."""
    text = document.decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _finalized(value: Any) -> Any:
    """What a template writes: texts as they may be shown, markup as it is."""
    return presentable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _asset(name: str) -> str:
    return (files("foreshock.reports") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("foreshock.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
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
