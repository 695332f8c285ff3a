"""Whether a plug-in keeps the contract of its base class: each mistake is named with its mend, before deployment.

A class is looked at when it is loaded (:func:`load_class`): methods that are missing, that take other arguments, that
are awaited and are not async (or the reverse), attributes of the wrong type. What a method returns is only known when
it is called: :func:`watch_target` has the answers of a target looked at then.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import Any, Final

from foreshock.harness.checker import Checker
from foreshock.harness.errors import PlugInError
from foreshock.harness.generator.native import Native, lift
from foreshock.harness.options import Options, nearest
from foreshock.harness.registry import Kind, load

_SHOWN_MAX: Final = 200
_NEAR: Final = 0.85
"""How alike two names are, as difflib counts, when one of them is taken for a slip of the other."""


def load_class(kind: Kind, name: str, base: type[Any]) -> type[Any]:
    """The plug-in's class, which keeps the contract of its base; raises :class:`PlugInError` with the first mistake."""
    found = load(kind, name)
    if not isinstance(found, type) or not issubclass(found, base):
        what = f"class {found.__name__}" if isinstance(found, type) else f"{type(found).__name__}, no class,"
        raise PlugInError(
            f"the {kind.singular} {name!r}: the {what} is not a subclass of foreshock.harness.{base.__name__}: "
            f"write class {getattr(found, '__name__', 'Mine')}({base.__name__})"
        )
    check_class(f"the {kind.singular} {name!r}", found, base)
    return found


def load_like(kind: Kind, name: str, protocol: type[Any]) -> type[Any]:
    """The plug-in's class, which has every method and attribute of a protocol, and need not inherit from it."""
    found = load(kind, name)
    who = f"the {kind.singular} {name!r}"
    if not isinstance(found, type):
        raise PlugInError(
            f"{who}: the {type(found).__name__} is no class: write class {getattr(found, '__name__', 'Mine')}"
        )
    for member in [member for member, value in vars(protocol).items() if inspect.isfunction(value)]:
        if not member.startswith("_") and not hasattr(found, member):
            raise PlugInError(f"{who}: it does not define {member}: write {_written(protocol, member)}")
    for attribute in protocol.__annotations__:
        if not hasattr(found, attribute):
            raise PlugInError(f"{who}: it has no attribute {attribute!r}")
    check_class(who, found, protocol)
    return found


def check_class(who: str, found: type[Any], base: type[Any]) -> None:
    """Raise :class:`PlugInError`, one sentence that begins with ``who``, for the first mistake of the class."""
    problem = next(_problems(found, base), None)
    if problem is not None:
        raise PlugInError(f"{who}: {problem}")


def returned(who: str, method: str, value: Any, wanted: str) -> PlugInError:
    """The error for an answer of the wrong kind. ``wanted`` is the mend: ``return a list of words, such as [...]``."""
    shown = f"{value!r:.{_SHOWN_MAX}}"
    kind = "None" if value is None else f"the {type(value).__name__} {shown}"
    return PlugInError(f"{who}: {method} returned {kind}: {wanted}")


def lifted(who: str, method: str, value: Any) -> Native:
    """The generator that a plug-in returned; raises :class:`PlugInError` for what is none."""
    try:
        return lift(value)
    except PlugInError as error:
        mend = "return a generator such as gen.mix([...]), an Operation, a list of them, or a function"
        raise returned(who, method, value, mend) from error


# --- the class ----------------------------------------------------------------------------------------------


def _problems(found: type[Any], base: type[Any]) -> Iterator[str]:
    own = [name for name in vars(found) if not name.startswith("__")]
    for name in sorted(getattr(found, "__abstractmethods__", ())):
        hint = nearest(name, [other for other in own if not hasattr(base, other)])
        near = hint if "did you mean" in hint else ""
        yield f"it does not define {name}{near}: write {_written(base, name)}"
    for cls in reversed(base.__mro__):
        for name, wanted in vars(cls).items():
            if (not name.startswith("_") or name == "__init__") and not _inherited(found, base, name):
                yield from _problems_of_member(name, wanted, inspect.getattr_static(found, name), base)
    yield from _problems_of_attributes(found, base)
    yield from _slips(found, base)


def _inherited(found: type[Any], base: type[Any], name: str) -> bool:
    return inspect.getattr_static(found, name, None) is inspect.getattr_static(base, name, None)


def _slips(found: type[Any], base: type[Any]) -> Iterator[str]:
    """Names that are all but those of a method or attribute of the base class, and that nobody uses.

    What is optional would otherwise be left out in silence. A class that has both names means both.
    """
    known = {
        name
        for cls in base.__mro__[:-1]
        for name in (*vars(cls), *vars(cls).get("__annotations__", {}))
        if not name.startswith("_")
    }
    for cls in found.__mro__:
        if cls in base.__mro__ or cls.__module__ == base.__module__:
            continue
        own = vars(cls)
        for name in own:
            meant = [] if name.startswith("_") or name in known else get_close_matches(name, known, 1, _NEAR)
            if meant and meant[0] not in own and not _is_used(name, cls):
                yield f"it has {name!r}, which nothing uses: did you mean {meant[0]!r}? If not, call it otherwise"


def _is_used(name: str, cls: type[Any]) -> bool:
    """Whether a name is read anywhere in the module of a class, or in the others of its package."""
    package = cls.__module__.rpartition(".")[0]
    for module_name, module in list(sys.modules.items()):
        if module_name != cls.__module__ and not (package and module_name.startswith(f"{package}.")):
            continue
        try:
            tree = ast.parse(inspect.getsource(module))
        except (OSError, TypeError, SyntaxError):
            return True  # nobody can tell
        if any(_reads(node, name) for node in ast.walk(tree)):
            return True
    return False


def _reads(node: ast.AST, name: str) -> bool:
    return (
        (isinstance(node, ast.Attribute) and node.attr == name)
        or (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.Constant) and node.value == name)
    )


def _problems_of_member(name: str, wanted: Any, found: Any, base: type[Any]) -> Iterator[str]:
    if isinstance(wanted, property):
        if inspect.isfunction(found):
            yield f"{name} is a method, and is read without a call: put @property before it"
        return
    if not inspect.isfunction(wanted) and not isinstance(wanted, classmethod):
        return
    if isinstance(found, property) or not (callable(found) or isinstance(found, classmethod | staticmethod)):
        kind = "a property" if isinstance(found, property) else f"the {type(found).__name__} {found!r:.80}"
        yield f"{name} is {kind}, and must be a method: write {_written(base, name)}"
        return
    if isinstance(wanted, classmethod) and inspect.isfunction(found):
        yield f"{name} must be a class method: put @classmethod before it"
        return
    function = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    function_wanted = wanted.__func__ if isinstance(wanted, classmethod) else wanted
    if not inspect.isfunction(function):
        return  # only calling it would tell
    yield from _problems_of_call(
        name, function_wanted, function, base, bound=not isinstance(found, staticmethod)
    )


def _problems_of_call(name: str, wanted: Any, found: Any, base: type[Any], *, bound: bool) -> Iterator[str]:
    parameters = list(inspect.signature(wanted).parameters.values())[0 if bound else 1 :]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    given = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty]
    try:
        inspect.signature(found).bind(*positional, *given, **named)
    except TypeError:
        takes = ", ".join(p for p in inspect.signature(found).parameters if p not in ("self", "cls"))
        calls = ", ".join([*positional[1 if bound else 0 :], *given, *(f"{key}=..." for key in named)])
        yield f"{name} takes ({takes}), and is called with ({calls}): write {_written(base, name)}"
        return
    awaited = inspect.iscoroutinefunction(wanted)
    if awaited and not inspect.iscoroutinefunction(found):
        yield f"{name} is awaited, and is not async: write {_written(base, name)}"
    elif not awaited and (inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found)):
        yield f"{name} is async, and is not awaited: write {_written(base, name)}"


def _written(base: type[Any], name: str) -> str:
    """How a method of the base class is written."""
    wanted = inspect.getattr_static(base, name)
    if isinstance(wanted, property):
        returns = str(inspect.signature(wanted.fget).return_annotation).strip("'") if wanted.fget else "..."
        return f"@property def {name}(self) -> {returns}"
    function = wanted.__func__ if isinstance(wanted, classmethod) else wanted
    prefix = "@classmethod " if isinstance(wanted, classmethod) else ""
    asynchronous = "async " if inspect.iscoroutinefunction(function) else ""
    return f"{prefix}{asynchronous}def {name}{str(inspect.signature(function)).replace(chr(39), '')}"


# --- its attributes -----------------------------------------------------------------------------------------


def _is_words(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(word, str) for word in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_services(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and callable(client) for name, client in value.items()
    )


def _is_types(value: Any) -> bool:
    return isinstance(value, frozenset | set) and all(isinstance(kind, type) for kind in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


Test = Callable[[Any], bool]
_ATTRIBUTES: Final[Mapping[str, tuple[Test, str]]] = {
    "Options": (
        lambda value: isinstance(value, type) and issubclass(value, Options),
        "a class of typed fields: class MyOptions(Options, frozen=True, kw_only=True)",
    ),
    "name": (_is_text, 'text, such as name = "mine"'),
    "service": (_is_text, 'the name of a service, such as service = "register"'),
    "default_nodes": (_is_count, "a whole number above 0, such as default_nodes = 3"),
    "port": (_is_count, "a whole number above 0, such as port = 7000"),
    "packages": (_is_words, 'a tuple of words, such as packages = ("redis-server",)'),
    "binaries": (_is_words, 'a tuple of words, such as binaries = ("redis-server",)'),
    "versions": (_is_words, 'a tuple of words, such as versions = ("1.0", "1.1")'),
    "services": (
        _is_services,
        'the client classes by service, such as services = {"register": MyRegisterClient}',
    ),
    "clock": (lambda value: value in ("port", "preload", None), 'one of "port", "preload" and None'),
    "requires": (_is_types, "a set of capabilities, such as requires = frozenset({Kill})"),
    "uses": (_is_types, "a set of capabilities, such as uses = frozenset({Kill})"),
    "values": (
        lambda value: isinstance(value, Mapping),
        'names by operation, such as values = {"kill": ("one",)}',
    ),
}


def _problems_of_attributes(found: type[Any], base: type[Any]) -> Iterator[str]:
    annotated = {name for cls in base.__mro__ for name in vars(cls).get("__annotations__", {})}
    for name, (test, wanted) in _ATTRIBUTES.items():
        if name not in annotated:
            continue
        if not hasattr(found, name):
            if base is not Checker:  # whose name the workload may give
                yield f"it has no attribute {name!r}: it must be {wanted}"
        elif not isinstance(getattr(found, name), property) and not test(getattr(found, name)):
            value = getattr(found, name)
            shown = "None" if value is None else f"{type(value).__name__} {value!r:.80}"
            yield f"its attribute {name!r} is {shown}: it must be {wanted}"


# --- what its methods return --------------------------------------------------------------------------------


def watch_target(target: Any, who: str) -> None:
    """Have what a target's methods return looked at, whoever calls them; they raise :class:`PlugInError` then."""
    for method, test, wanted in (
        (
            "command",
            _is_command,
            'return a list of words, such as ["redis-server", "--port", str(node.listen.port)]',
        ),
        ("environment", _is_texts, 'return a dict of texts, such as {"MODE": "strict"}'),
        ("files", _is_files, 'return a dict of names to bytes, such as {"my.conf": b"..."}'),
    ):
        setattr(target, method, _watched(getattr(target, method), who, method, test, wanted))


def _watched(method: Any, who: str, name: str, test: Test, wanted: str) -> Any:
    called = f"{name}({', '.join(inspect.signature(method).parameters)})"

    @wraps(method)
    def watched(*arguments: Any, **more: Any) -> Any:
        value = method(*arguments, **more)
        if not test(value):
            raise returned(who, called, value, wanted)
        return value

    return watched


def _is_command(value: Any) -> bool:
    return _is_words(value) and len(value) > 0


def _is_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    )


def _is_files(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(content, bytes) for key, content in value.items()
    )


def checked_checkers(who: str, value: Any) -> dict[str, Checker]:
    """What a workload's ``checkers`` returned, if it is what it should be; raises :class:`PlugInError`."""
    mend = 'return a dict of checkers by name, such as {"linearizable": LinearizableChecker("cas-register")}'
    if not isinstance(value, Mapping):
        raise returned(who, "checkers()", value, mend)
    for name, checker in value.items():
        if isinstance(checker, type):
            raise PlugInError(
                f"{who}: checkers() has the class {checker.__name__} as {name!r}: make one of it with ()"
            )
        if not isinstance(checker, Checker):
            kind = type(checker).__name__
            raise PlugInError(f"{who}: checkers() has a {kind} as {name!r}, which is no Checker: {mend}")
        check_class(f"{who}: the checker {name!r} ({type(checker).__name__})", type(checker), Checker)
    return dict(value)
