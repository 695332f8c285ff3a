"""The mutants of a module: mutmut's operators on each function, one change each.

The tool's own runner leaves functions with decorators alone, which all kernels are; so only its operators are used,
on every function and method. Left out are what runs when a module is imported (constants, default values,
decorators, the bodies of classes), annotations, strings and what a ``raise`` says: they are words, or no rule.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation.mutators import (
    mutation_operators,
    operator_arg_removal,
    operator_assignment,
    operator_string,
)

_LEFT_OUT: Final = (operator_string, operator_assignment, operator_arg_removal)
OPERATORS: Final = [(kind, operate) for kind, operate in mutation_operators if operate not in _LEFT_OUT]
"""All of the tool's but three: strings are words; ``None`` for a value or an argument is what strict types refuse."""
_UNTOUCHED: Final = (cst.Annotation, cst.Decorator, cst.BaseString, cst.Raise, cst.Parameters, cst.Assert)
_UNTOUCHED_CALLS: Final = ("len", "isinstance", "cast")
_COMPOUND: Final = (cst.If, cst.For, cst.While, cst.With, cst.Try, cst.FunctionDef, cst.ClassDef, cst.Match)
_STATEMENTS: Final = (cst.BaseSmallStatement, cst.SimpleStatementLine, *_COMPOUND)


@dataclass(frozen=True)
class Mutant:
    """One change of one function.

    ``lines`` are those of the statement around it, ``outermost`` is the function of the module, or the method, in
    which it is, and the line where that begins.
    """

    module: str
    function: str
    outermost: tuple[str, int]
    lines: range
    minus: str
    plus: str
    number: int
    source: str

    @property
    def name(self) -> str:
        """What it is called, which stays as long as the line and the function around it do."""
        more = f" #{self.number}" if self.number else ""
        return f"{self.module}: {self.function}: {self.minus} -> {self.plus}{more}"


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, range, cst.CSTNode, cst.CSTNode]] = []
        self._names: list[tuple[str, bool]] = []
        self._statements: list[range] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._is_untouched(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append((node.name.value, isinstance(node, cst.FunctionDef)))
        if isinstance(node, _STATEMENTS):
            self._statements.append(self._lines(node))
        if any(is_function for _, is_function in self._names):
            for kind, operate in OPERATORS:
                if isinstance(node, kind):
                    self._note(node, operate(node))
        return True

    def on_leave(self, node: cst.CSTNode) -> None:
        if self._is_untouched(node):
            return
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()
        if isinstance(node, _STATEMENTS):
            self._statements.pop()

    def _note(self, node: cst.CSTNode, mutated: Any) -> None:
        names = [name for name, _ in self._names]
        # Functions within a function are made anew whenever it runs: the outermost one is what is replaced.
        first = next(place for place, (_, is_function) in enumerate(self._names) if is_function)
        outermost = ".".join(names[: first + 1])
        self.found += [(".".join(names), outermost, self._statements[-1], node, new) for new in mutated]

    def _is_untouched(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
            return node.func.value in _UNTOUCHED_CALLS
        return isinstance(node, _UNTOUCHED)

    def _lines(self, node: cst.CSTNode) -> range:
        where = self.get_metadata(PositionProvider, node)
        if isinstance(node, _COMPOUND) and not isinstance(node, cst.Try | cst.Match):
            begin = self.get_metadata(PositionProvider, node.body).start.line
            return range(where.start.line, max(begin, where.start.line + 1))
        return range(where.start.line, where.end.line + 1)


def mutants_of(path: Path, module: str) -> Iterator[Mutant]:
    """All mutants of a module that compile, in the order of its text."""
    text = path.read_text()
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    visitor = _Visitor()
    wrapper.visit(visitor)
    begins = _beginnings(text)
    places = wrapper.resolve(WhitespaceInclusivePositionProvider)
    starts = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
    seen: Counter[tuple[str, str, str]] = Counter()
    for function, outermost, lines, node, new in visitor.found:
        start, end = places[node].start, places[node].end
        before, after = starts[start.line - 1] + start.column, starts[end.line - 1] + end.column
        # Only lines within parentheses are indented less than they were, which means nothing.
        assert text[before:after].split() == wrapper.module.code_for_node(node).split()
        source = text[:before] + wrapper.module.code_for_node(new) + text[after:]
        if source == text or not _compiles(source):
            continue
        minus, plus = _change(text, source, start.line - 1, len(starts) - 1 - end.line)
        identity = (function, minus, plus)
        yield Mutant(
            module, function, (outermost, begins[outermost]), lines, minus, plus, seen[identity], source
        )
        seen[identity] += 1


def _beginnings(text: str) -> dict[str, int]:
    """Where each function of the module and each method begins, as its code object says."""
    code = compile(text, "text", "exec", dont_inherit=True)
    return {inner.co_qualname: inner.co_firstlineno for inner in codes(code)}


def codes(code: Any) -> Iterator[Any]:
    """The code objects within a code object, at any depth."""
    for inner in code.co_consts:
        if hasattr(inner, "co_qualname"):
            yield inner
            yield from codes(inner)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _change(old: str, new: str, same_before: int, same_after: int) -> tuple[str, str]:
    """The lines that went and those that came, each in one line; all others are the same."""
    went, came = (
        [line.strip() for line in lines[same_before : len(lines) - same_after]]
        for lines in (old.splitlines(), new.splitlines())
    )
    while len(went) > 1 and len(came) > 1 and went[0] == came[0]:
        went, came = went[1:], came[1:]
    while len(went) > 1 and len(came) > 1 and went[-1] == came[-1]:
        went, came = went[:-1], came[:-1]
    return " ".join(went), " ".join(came)
