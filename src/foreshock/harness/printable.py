"""Text of others (of nodes, of plug-ins, of files) on a terminal: what would steer it is shown and not obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text, with what is neither printable nor a break of lines or a tab as Python writes it: ``\x1b[31m``."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)
