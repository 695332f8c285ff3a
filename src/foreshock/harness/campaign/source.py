"""A campaign's file as text and as values: what is wrong at a place in it is said with the line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.errors import UsageError
from foreshock.harness.options import nearest
from foreshock.harness.text_files import parse_toml, read_text
from foreshock.harness.toml_lines import Place, lines_of

WHAT = "the campaign"


class Source(msgspec.Struct, frozen=True):
    """The file ``path``. A :data:`Place` is the way to a value in it: ``("include", 0, "target")``."""

    path: Path
    content: Mapping[str, Any]
    lines: Mapping[Place, int]

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read and parse the file; raises :class:`UsageError`."""
        text = read_text(path, WHAT)
        return cls(path=path, content=parse_toml(text, path, WHAT), lines=lines_of(text))

    def line(self, place: Place) -> int:
        """The line where a place stands, or what holds it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(
        self, place: Place, text: str, *, name: str | None = None, known: Iterable[str] = ()
    ) -> UsageError:
        """What is wrong at a place, with the line, and those of the ``known`` names that are nearest to ``name``."""
        hint = "" if name is None else nearest(name[:200], known)
        return UsageError(f"{self.path}, line {self.line(place)}: {text}{hint}")

    def known(self, place: Place, table: Mapping[str, Any], keys: Iterable[str]) -> Mapping[str, Any]:
        """The table, whose keys must be among ``keys``; an underscore is as good as a hyphen."""
        keys = tuple(keys)
        found = {}
        for key, value in table.items():
            name = key.replace("_", "-")
            if name not in keys:
                text = f"there is no key {key!r:.100}{self.where(place)}"
                raise self.error((*place, key), text, name=key, known=keys)
            if name in found:
                raise self.error((*place, key), f"{name!r} is there twice{self.where(place)}")
            found[name] = value
        return found

    def where(self, place: Place) -> str:
        """The table of a place in words: `` in [matrix]``; nothing for the top of the file."""
        names = [part for part in place if isinstance(part, str)]
        if not names:
            return ""
        dotted = ".".join(names)
        return f" in [[{dotted}]]" if isinstance(place[-1], int) else f" in [{dotted}]"

    def whole(self, place: Place, value: Any, least: int, most: int) -> int | None:
        """A whole number within bounds; ``None`` stays ``None``."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(
                place,
                f"{self._name(place)} cannot be {value!r:.100}: give a whole number from {least} to {most}",
            )
        return value

    def boolean(self, place: Place, value: Any) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            raise self.error(place, f"{self._name(place)} cannot be {value!r:.100}: give true or false")
        return value

    def choice(self, place: Place, value: Any, choices: tuple[str, ...]) -> Any:
        """One of several words."""
        if value not in choices:
            words = " or ".join(f'"{choice}"' for choice in choices)
            raise self.error(place, f"{self._name(place)} cannot be {value!r:.100}: give {words}")
        return value

    def _name(self, place: Place) -> str:
        return repr(next((part for part in reversed(place) if isinstance(part, str)), "it"))
