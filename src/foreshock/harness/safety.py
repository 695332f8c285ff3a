"""What faults may touch, and what a script of ours may do: the rules, in one place.

* An *allow-list* (``--allow``) says which nodes, or their containers, faults may touch. A test whose faults could touch
  anything else is refused before it is deployed; and the ledger, which every fault goes through before it is injected,
  refuses what is not on the list.
* A *script* that is run on a host or in a pod changes only what is ours: chains named ``FORESHOCK*`` and jumps to them,
  and no route, policy, table or connection of the host's own. :func:`objections` says what is wrong with one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final

from foreshock.harness.capabilities import Membership, Primary, Stall
from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.schedule_file import ScheduledFault, steps_of

HARMLESS: Final = frozenset({Stall, Primary, Membership})
"""Capabilities that touch no node from outside: the harness's own clients, and what the target does when asked."""
PATTERNS_MAX: Final = 1_000

# --- the allow-list -------------------------------------------------------------------------------------------------


def parse_allowed(text: str | None) -> tuple[str, ...] | None:
    """The patterns of ``n1,db-*``; ``None``: there is no list, and every node of the run may be touched."""
    if text is None:
        return None
    patterns = tuple(word.strip() for word in text.split(","))
    if not all(patterns):
        raise UsageError(
            f"the allow-list {text!r} has an empty pattern: name nodes, or their containers, separated by commas"
        )
    if len(patterns) > PATTERNS_MAX:
        raise UsageError(f"the allow-list has {len(patterns)} patterns: at most {PATTERNS_MAX}")
    return patterns


def is_allowed(patterns: Sequence[str] | None, node: str) -> bool:
    """Whether faults may touch a node: a pattern fits its name, or that of its container.

    On ``ssh`` that is the name by which its host is looked up, whatever address it is at.
    """
    if patterns is None:
        return True
    names = (node, f"foreshock-{node}", f"foreshock-*-{node}")
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def check_allowed(
    patterns: Sequence[str] | None,
    backend: str,
    nodes: Sequence[str],
    needed: Mapping[str, frozenset[type[Any]]],
    schedule: Sequence[ScheduledFault] | None,
) -> None:
    """Refuse a plan whose faults could touch what is not on the list; raises :class:`UsageError`.

    ``needed``: the capabilities that each nemesis needs.
    """
    if patterns is None:
        return
    for pattern in patterns:
        if not any(is_allowed([pattern], node) for node in nodes):
            raise UsageError(
                f"the allow-list names {pattern!r}, and no node of this test is called so (nodes: {', '.join(nodes)})"
            )
    touching = [name for name, capabilities in needed.items() if capabilities - HARMLESS]
    reached = list(nodes) if schedule is None else sorted(_named(schedule, nodes))
    refused = [node for node in reached if not is_allowed(patterns, node)]
    if touching and refused:
        raise UsageError(
            f"{' and '.join(touching)} may touch {', '.join(refused)} on {backend}, and the allow-list "
            f"({', '.join(patterns)}) does not have it: add it to --allow, leave it out of --nodes, or play a "
            "--schedule that names other nodes"
        )


def _named(schedule: Sequence[ScheduledFault], nodes: Sequence[str]) -> set[str]:
    """The nodes that a schedule names; all of them where one of its faults leaves them to be drawn."""
    named: set[str] = set()
    stops = {fault.stop for fault in schedule}
    for step in steps_of(schedule):
        if step.f in stops and step.value is None:
            continue
        found = {word for word in _words(step.value) if word in nodes}
        if not found:
            return set(nodes)
        named |= found
    return named


def _words(value: Any) -> Iterator[str]:
    """Every text within a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _words(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)


def guard(patterns: Sequence[str] | None) -> Callable[[str, frozenset[str], Mapping[str, Any]], None]:
    """What the ledger asks before it takes a fault.

    Raises :class:`FaultError` for a node that is not on the list, and for an inverse whose scripts would touch what is
    not ours: a fault that cannot be undone safely is not injected.
    """

    def check(kind: str, nodes: frozenset[str], inverse: Mapping[str, Any]) -> None:
        refused = sorted(node for node in nodes if not is_allowed(patterns, node))
        if refused:
            raise FaultError(
                f"the fault {kind} was refused: {', '.join(refused)} is not on the allow-list "
                f"({', '.join(patterns or ())})"
            )
        for node, script in sorted(inverse.get("scripts", {}).items()):
            wrong = objections(script)
            if wrong:
                raise FaultError(
                    f"the fault {kind} was refused: the script that undoes it on {node} {'; '.join(wrong)}"
                )

    return check


# --- scripts --------------------------------------------------------------------------------------------------------

_CHAIN: Final = re.compile(r"FORESHOCK[A-Z0-9_-]*\Z")
_COMMAND: Final = re.compile(
    r"(?:^|[\s;&|({`])(?:\S*/)?(?P<tool>ip6?tables(?:-legacy|-nft)?)\s+(?P<rest>[^;&|\n)]*)"
)
_RESTORE: Final = re.compile(
    r"(?:^|[\s;&|({`])(?:\S*/)?ip6?tables(?:-legacy|-nft)?-restore\b(?P<rest>[^\n]*)"
)
_FORBIDDEN: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"\bip(?:\s+-\S+)*\s+(?:route|rule)\s+(?:add|del|delete|change|replace|append|flush)\b"),
        "changes routes",
    ),
    (re.compile(r"(?:^|[\s;&|])route\s+(?:add|del)\b", re.MULTILINE), "changes routes"),
    (re.compile(r"\bip(?:\s+-\S+)*\s+link\s+(?:set|del|delete)\b"), "changes an interface"),
    (re.compile(r"\bip(?:\s+-\S+)*\s+addr(?:ess)?\s+(?:add|del|delete|flush)\b"), "changes addresses"),
    (re.compile(r"\b(?:ifconfig|ifdown)\s+\S+"), "changes an interface"),
    (re.compile(r"\bnft\s+(?:-\S+\s+)*flush\s+ruleset\b"), "flushes every rule"),
    (re.compile(r"\b(?:pkill|killall)\b"), "ends processes by their name"),
    (re.compile(r"\bkill\b[^\n;&|]*\s-1(?:\s|$)"), "signals every process"),
    (re.compile(r"\brm\s+-\w*[rR]\w*\s+(?:--\s+)?/(?:\s|$|\*)"), "removes everything"),
)
_JUMPS: Final = frozenset({"-A", "-I", "-D", "-C", "--append", "--insert", "--delete", "--check"})
_OWN: Final = (
    frozenset({"-N", "-F", "-X", "-E", "-Z", "-R", "--new-chain", "--flush", "--delete-chain"}) | _JUMPS
)
_POLICY: Final = frozenset({"-P", "--policy"})


def objections(script: str) -> list[str]:
    """What a script would do that no script of ours may, each a few words; empty when nothing is wrong.

    Rules belong into chains named ``FORESHOCK*``; into any other chain only a jump to one of these may be put. No
    chain is flushed but ours, no policy set, no route or address changed, no process found by its name.
    """
    found = [what for pattern, what in _FORBIDDEN if pattern.search(script)]
    for match in _COMMAND.finditer(script):
        found += _objections_to_rule(match["rest"].split())
    for match in _RESTORE.finditer(script):
        if not re.search(r"(?:\s|^)(?:-n|--noflush)\b", match["rest"]):
            found.append("restores a table and flushes what was in it")
    for line in script.splitlines():
        words = line.split()
        if words and words[0] in ("-A", "-I", "-D") and len(words) > 2:
            found += _objections_to_rule(words)
        if re.match(r":\S+\s+(?:ACCEPT|DROP)\b", line):
            found.append(f"sets the policy of {words[0][1:]}")
        elif re.match(r":\S+\s+-", line) and not _CHAIN.match(words[0][1:]):
            found.append(f"makes or flushes the chain {words[0][1:]}, which is not ours")
    return found


def _objections_to_rule(words: Sequence[str]) -> list[str]:
    for position, word in enumerate(words):
        if word in _POLICY:
            return ["sets the policy of a chain"]
        if word in _OWN:
            chain = words[position + 1].strip("'\"") if position + 1 < len(words) else ""
            if _CHAIN.match(chain) or chain.startswith("$"):
                return []
            if word in _JUMPS and _jumps_to_ours(words):
                return []
            return [f"changes the chain {chain or 'of every name'}, which is not ours ({' '.join(words)})"]
    return []


def _jumps_to_ours(words: Sequence[str]) -> bool:
    pairs = pairwise(words)
    return any(
        word in ("-j", "-g", "--jump", "--goto") and _CHAIN.match(to.strip("'\"")) for word, to in pairs
    )
