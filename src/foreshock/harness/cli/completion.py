"""Shell completion of plug-in names; imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from foreshock.harness.registry import Kind, names


def complete(kind: Kind, *more: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """A completer over the names of a kind; after a comma it goes on with the next name."""

    def completer(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        done, comma, start = incomplete.rpartition(",")
        taken = done.split(",")
        known = [name for name in [*names(kind), *more] if name not in taken]
        return [CompletionItem(done + comma + name) for name in known if name.startswith(start)]

    return completer
