"""The knobs of a program for people: their names, which end in their units, their defaults, and what they are for."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from typing import Any


def knob_help(title: str, knobs: Any) -> str:
    """A paragraph for each knob of a class of knobs, its default first; under a title."""
    texts = _documentation(knobs)
    paragraphs = []
    for name, default in knobs._field_defaults.items():
        value = str(default).lower() if isinstance(default, bool) else str(default)
        text = textwrap.fill(texts.get(name, ""), 110, initial_indent=" " * 6, subsequent_indent=" " * 6)
        paragraphs.append(f"  --set {name}={value}\n{text}".rstrip())
    return "\n".join([title, *paragraphs])


def _documentation(knobs: Any) -> dict[str, str]:
    """The strings behind the fields, as they stand in the source; nothing where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(knobs)))
    except (OSError, TypeError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    texts = {}
    for field, following in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            texts[field.target.id] = " ".join(str(following.value.value).split())
    return texts
