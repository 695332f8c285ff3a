"""What ``foreshock new-target`` writes: a target that works as it stands, and its test."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from foreshock.harness.errors import UsageError
from foreshock.harness.options import nearest

SERVICES: Final = ("register", "lock", "cache")
NAME_CHARACTERS_MAX: Final = 40


class Names(NamedTuple):
    """What a new target is called: ``my_db`` in ``my_db.py``, with the class ``MyDb``."""

    module: str
    class_name: str


class Written(NamedTuple):
    """The files of a new target."""

    target: Path
    test: Path
    names: Names


def names_of(text: str) -> Names:
    """The names made of what the user said; raises :class:`UsageError` for what cannot be a name in Python."""
    module = text.strip().removesuffix(".py").replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", module) or len(module) > NAME_CHARACTERS_MAX:
        raise UsageError(
            f"{text!r:.200} is no name for a target: use letters, digits, hyphens and underscores, a letter first, "
            f"{NAME_CHARACTERS_MAX} at most, such as mydb"
        )
    if keyword.iskeyword(module) or keyword.issoftkeyword(module) or module in sys.stdlib_module_names:
        raise UsageError(f"{text!r} is taken by Python itself: choose another name, such as my_{module}")
    if module.startswith("test_") or module in ("test", "conftest"):
        raise UsageError(f"{text!r} is a name by which pytest knows tests: choose another, such as mydb")
    return Names(module, "".join(part.capitalize() for part in module.split("_")))


def services_of(text: str) -> tuple[str, ...]:
    """The services named in ``register,lock``, each once; raises :class:`UsageError`."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in SERVICES:
            raise UsageError(
                f"there is no template for the service {word!r}{nearest(word, SERVICES)}; "
                "one of your own is written as docs/plug-ins.md says"
            )
    return tuple(service for service in SERVICES if service in words)


def write_target(name: str, directory: Path, services: Sequence[str]) -> Written:
    """Write the two files; raises :class:`UsageError` for a bad name, or where there is such a file already."""
    names = names_of(name)
    if not directory.is_dir():
        raise UsageError(
            f"there is no folder {str(directory)!r} to write into: make it, or name another with --directory"
        )
    target, test = directory / f"{names.module}.py", directory / f"test_{names.module}.py"
    for path in (target, test):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} is there already, and is left as it is: choose another name or folder")
    if importlib.util.find_spec(names.module) is not None:
        raise UsageError(
            f"a file {target.name} would hide the library {names.module!r} from the programs beside it: "
            f"choose another name, such as my_{names.module}"
        )
    _write(target, _rendered("target.py.j2", names, services))
    try:
        _write(test, _rendered("test.py.j2", names, services))
    except UsageError:
        target.unlink()
        raise
    return Written(target, test, names)


def _rendered(template: str, names: Names, services: Sequence[str]) -> str:
    import jinja2  # slow to import

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # it is Python, and no page
    )
    return environment.get_template(template).render(
        module=names.module, class_name=names.class_name, services=list(services)
    )


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
