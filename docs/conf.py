"""How Sphinx builds these pages: ``make docs`` writes them to ``build/docs``, and any warning fails it."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "Foreshock"
author = "The Foreshock authors"
release = version = version_of("foreshock")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["README.md"]
source_suffix = {".md": "markdown"}
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
autodoc_default_options: dict[str, Any] = {"members": True, "show-inheritance": True}

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_remove_prompts = True
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = "Foreshock"
html_static_path: list[str] = []
html_show_sphinx = False
html_theme_options: dict[str, Any] = {
    "light_css_variables": {"color-brand-primary": "#1c6fb0", "color-brand-content": "#1c6fb0"},
    "dark_css_variables": {"color-brand-primary": "#6DB6FE", "color-brand-content": "#6DB6FE"},
}

_TO_SOURCES = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")
"""A link from a page to a file of the repository that is no page: it works in a checkout, and not on a site."""


def _name_sources(_app: Sphinx, _page: str, content: list[str]) -> None:
    """Name the files of the repository that pages link to, in place of links that lead nowhere."""
    content[0] = _TO_SOURCES.sub(
        lambda found: f"`{found[2]}`" if found[1] in found[2] else f"{found[1]} (`{found[2]}`)", content[0]
    )


def _escape(_app: Sphinx, _context: object, lines: list[str]) -> None:
    """The help of commands is plain text, where a star is a star."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def setup(app: Sphinx) -> None:
    """Have Sphinx call us."""
    app.add_lexer("csv", TextLexer)  # for which Pygments has none
    app.connect("source-read", _name_sources)
    for part in ("description", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _escape)
