"""Options that choose among named kinds: a comma-separated string, checked when the options are parsed."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock.harness.options import nearest


def chosen(text: str, known: Iterable[str], *, option: str) -> tuple[str, ...]:
    """The names in ``a,b,c``; raises ``ValueError`` (which option parsing turns into a usage error).

    A name may be repeated: it is then as many times as likely.
    """
    every = tuple(known)
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise ValueError(f"{option} is empty: name at least one of {', '.join(every)}")
    for name in found:
        if name not in every:
            raise ValueError(f"{option} knows no {name!r}{nearest(name, every)}")
    return found
