"""Short proofs that a read is impossible, for the models that have them; nothing is said that was not looked up.

Each is made from all entries that it is given (the updates must be all there, or all that can matter to the read), so
it holds whatever the order of the others. The search is not asked: these are sufficient conditions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.entries import Entry, freeze
from foreshock.checkers.models.kv import APPEND, Kv
from foreshock.checkers.models.register import CAS, READS, CasRegister, Register, word
from foreshock.checkers.shortening import difference, shortened
from foreshock.checkers.wording import Wording
from foreshock.harness.model import UNKNOWN, Model

OVERWRITTEN: Final = "overwritten"
NOWHERE: Final = "nowhere"
GROWS: Final = "grows"
_OTHERS_MAX: Final = 12
_SHOWN_CHARACTERS: Final = 60
_LOOKED_AT_MAX: Final = 200


class Proof(NamedTuple):
    """Why a history is illegal, as offsets of entries: which suffice, and which of them are worth drawing."""

    kind: str
    operations: tuple[int, ...]
    drawn: tuple[int, ...]
    sentences: tuple[str, ...]
    headline: str = ""
    """What follows "cannot be explained: ", where there is something better than the states that were possible."""


def proof_of(model: Model, entries: Sequence[Entry], read: int, words: Wording) -> Proof | None:
    """Why it is impossible that a register, or a key with a text, was read so; ``None`` where it is not simple."""
    return _of_register(model, entries, read, words) or _of_growth(model, entries, read, words)


def _of_register(model: Model, entries: Sequence[Entry], read: int, words: Wording) -> Proof | None:
    """Why a register cannot have been read so.

    The value comes from nowhere: it is not that of the start, and no operation that began before the read returned
    sets it. Or it was overwritten: some operation began after all those had returned (or, if it is only one, after
    somebody had read what it wrote), left or found another value, and returned before the read began.
    """
    entry = entries[read]
    if not isinstance(model, Register) or type(model) not in (Register, CasRegister):
        return None
    if entry.f not in READS or entry.crashed:
        return None
    if entry.result is UNKNOWN:
        return None
    value = freeze(entry.result)
    at_start = model.initial() == value
    sources = [o for o, e in enumerate(entries) if e.call <= entry.ret and _sets(model, e, value)]
    if not sources and not at_start:
        return _from_nowhere(entry, read, words)
    last = max((entries[o].ret for o in sources), default=-1)
    # Where nothing else sets the value, whoever read it shows that it had been set.
    readers = [
        o for o, e in enumerate(entries) if e.f in READS and not e.crashed and freeze(e.result) == value
    ]
    witness = min(readers, key=lambda o: entries[o].ret)
    seen = len(sources) == 1 and not at_start and entries[witness].ret < last
    last = entries[witness].ret if seen else last
    found = [
        o
        for o, e in enumerate(entries)
        if last < e.call and e.ret < entry.call and not e.crashed and _leaves_another(model, e, value)
    ]
    if not found:
        return None
    # What was written says more than what was read.
    over = max(found, key=lambda o: (entries[o].f not in READS, entries[o].ret))
    sources.sort(key=lambda o: (entries[o].ret, o))
    if seen and entries[sources[0]].ret >= entries[over].call:
        return _overwritten(entries, read, over, sources, words, witness)
    return _overwritten(entries, read, over, sources, words)


def _sets(model: Register, entry: Entry, value: Any) -> bool:
    """Whether an operation can make the register hold a value that it did not hold."""
    if entry.f in READS or model.written(entry.f, entry.value) != value:
        return False
    return entry.f != CAS or model.pair(entry.value)[0] != value


def _leaves_another(model: Register, entry: Entry, value: Any) -> bool:
    """Whether the register holds another value just after the operation."""
    if entry.f in READS:
        return entry.result is not UNKNOWN and freeze(entry.result) != value
    return bool(model.written(entry.f, entry.value) != value)


def _from_nowhere(entry: Entry, read: int, words: Wording) -> Proof:
    value = shortened(word(entry.result))
    returned = words.returned(read)
    before = f"no operation that began before{returned.removeprefix(' at') or ' it returned'}"
    start = shortened(word(words.model.initial()))
    sentence = f"Nobody wrote {value}: {before} sets the value to {value}, and at the start it was {start}."
    return Proof(NOWHERE, (read,), (read,), (sentence,), f"nobody wrote {value}")


def _overwritten(
    entries: Sequence[Entry],
    read: int,
    over: int,
    sources: Sequence[int],
    words: Wording,
    witness: int | None = None,
) -> Proof:
    value = shortened(word(entries[read].result))
    writer = entries[over]
    had = (
        f"had already read {shortened(word(writer.result))}"
        if writer.f in READS
        else f"had already overwritten it with {words.label(over)}"
    )
    itself = "itself " if writer.process == entries[read].process else ""
    first = (
        f"Stale read: process {entries[read].process} read {value} ({words.events(read)}), but process "
        f"{writer.process} {itself}{had} ({words.events(over)})."
    )
    if witness is not None:
        second = (
            f"The only operation that sets the value to {value}, {words.full(sources[0])}, had taken effect before "
            f"{words.label(over)} began: process {entries[witness].process} had read {value} by then "
            f"({words.events(witness)})."
        )
        operations = (witness, over, read)
        return Proof(OVERWRITTEN, tuple(sorted(operations)), operations, (first, second))
    began = f"had returned before {words.label(over)} began"
    if not sources:
        second = f"The value was {value} only at the start: no operation that had begun by then sets it to {value}."
    else:
        last = f"{words.by(sources[-1])}, {words.events(sources[-1])}"
        several = "Both" if len(sources) == 2 else f"All {len(sources)}"
        who = (
            f"The only operation that sets the value to {value}, {words.full(sources[-1])}, {began}"
            if len(sources) == 1
            else f"{several} operations that set the value to {value} {began} (last: {last})"
        )
        second = f"{who}, and none that could set it to {value} was still open."
    sentences = [first, second]
    if others := sources[:-1]:
        listed = [words.events(o).split(" ", 1)[1] for o in others[-_OTHERS_MAX:]]
        left = len(others) - len(listed)
        begin = f"The other {len(others)} that set it to {value}" if len(others) > 1 else "The other one"
        sentences.append(f"{begin}: events {', '.join(listed)}{f' and {left} earlier' if left else ''}.")
    return Proof(
        OVERWRITTEN, tuple(sorted((*sources, over, read))), (*sources[-1:], over, read), tuple(sentences)
    )


def _of_growth(model: Model, entries: Sequence[Entry], read: int, words: Wording) -> Proof | None:
    """Why a text that was only appended to cannot have been read so.

    It has to begin with what was read of it before, to hold what was appended before, and to hold what was appended
    after it was read behind what was read then.
    """
    entry = entries[read]
    if type(model) is not Kv or entry.f not in READS or entry.crashed:
        return None
    if not isinstance(entry.result, str | None):
        return None
    if any(e.call <= entry.ret and e.f not in READS and e.f != APPEND for e in entries):
        return None
    found = entry.result or ""
    before = [o for o, e in enumerate(entries) if e.ret < entry.call and not e.crashed]
    before.sort(key=lambda o: entries[o].ret, reverse=True)
    gets = [o for o in before if entries[o].f in READS and isinstance(entries[o].result, str)]
    appends = [o for o in before if entries[o].f == APPEND]
    for get in gets:
        if not found.startswith(entries[get].result):
            return _shrunk(entries, get, read, words)
    for append in appends:
        if entries[append].value not in found:
            return _lacking(entries, append, read, words)
    for append in appends[:_LOOKED_AT_MAX]:
        earlier = [get for get in gets if entries[get].ret < entries[append].call]
        longest = max(earlier, key=lambda o: len(entries[o].result), default=read)
        if longest != read and entries[append].value not in found[len(entries[longest].result) :]:
            return _not_behind(entries, longest, append, read, words)
    return None


_ONLY_APPENDS: Final = "Only appends had begun by then, and those only make a value longer."


def _text(value: str) -> str:
    return repr(value if len(value) <= _SHOWN_CHARACTERS else shortened(value, _SHOWN_CHARACTERS))


def _shrunk(entries: Sequence[Entry], get: int, read: int, words: Wording) -> Proof:
    known, found = entries[get].result, entries[read].result or ""
    reader = f"process {entries[read].process}"
    earlier = f"process {entries[get].process} had already read ({words.events(get)})"
    lost = len(known) - len(found)
    headline = f"process {entries[get].process} had already read {_text(known)}"
    if not found:
        told = (
            f"Stale read: {reader} read no text ({words.events(read)}), but {_text(known)} is what {earlier}."
        )
    elif known.startswith(found):
        told = (
            f"Stale read: {reader} read the value as it was {lost:,} characters earlier ({words.events(read)}): it "
            f"lacks {_text(known[len(found) :])} at the end, which {earlier}."
        )
        headline = (
            f"it lacks {_text(known[len(found) :])}, which process {entries[get].process} had already read"
        )
    else:
        pairs = enumerate(zip(known, found, strict=False))
        at = next((place for place, (one, other) in pairs if one != other), len(known))
        part = difference(known, found) or f"they part after {at:,} characters"
        told = f"What {reader} read ({words.events(read)}) does not begin with what {earlier}: {part}."
        headline = f"it does not begin with what process {entries[get].process} had already read"
    return Proof(GROWS, (get, read), (get, read), (told, _ONLY_APPENDS), headline)


def _lacking(entries: Sequence[Entry], append: int, read: int, words: Wording) -> Proof:
    text, found = _text(entries[append].value), _text(entries[read].result or "")
    told = (
        f"After {words.full(append)} the value contains {text} until a put, a delete or a compare-and-set replaces it, "
        f"and none of those had begun by then; the get by process {entries[read].process} ({words.events(read)}) "
        f"returned {found}, which lacks it."
    )
    headline = f"it lacks {text}, which was appended before it began"
    return Proof(GROWS, (append, read), (append, read), (told,), headline)


def _not_behind(entries: Sequence[Entry], get: int, append: int, read: int, words: Wording) -> Proof:
    known, found = entries[get].result, entries[read].result or ""
    told = (
        f"Process {entries[get].process} had read {len(known):,} characters ({words.events(get)}) before "
        f"{words.full(append)} began. So from then on {_text(entries[append].value)} has to come behind those, but "
        f"what process {entries[read].process} read ({words.events(read)}) holds nothing of that: "
        + (
            f"behind them is only {_text(found[len(known) :])}."
            if len(found) > len(known)
            else "it ends there."
        )
    )
    headline = f"it lacks one {_text(entries[append].value)}, which was appended before it began"
    return Proof(GROWS, (get, append, read), (get, append, read), (told, _ONLY_APPENDS), headline)
