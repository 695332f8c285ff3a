"""The membership nemesis: members are removed from the running cluster, added again, and replaced.

What is asked for are ordinary requests of an operator, through the target's own interface, to any node; now and then
two at the same time, as two operators would who do not know of each other. The cluster may refuse, and then nothing
has happened. A change that nobody answered for is in doubt, and stays so until the cluster is asked who its members
are. In the end all nodes are members again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Membership
from foreshock.harness.errors import Definite, FaultError, HarnessError, OperationError
from foreshock.harness.fault_values import check_nodes
from foreshock.harness.generator.base import Liftable
from foreshock.harness.ledger import ENDS_WITH_HARNESS
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, TimeoutExpired
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.node_fault import SOME
from foreshock.nemesis.schedule import Faults, FaultSchedule

SECOND_NS: Final = 1_000_000_000
CHANGE_TIMEOUT_NS: Final = 3 * SECOND_NS
"""How long one change is waited for: other nemeses wait meanwhile."""
CONFIRM_ATTEMPTS_MAX: Final = 5
CONFIRM_PAUSE_NS: Final = SECOND_NS // 5
ASK_TIMEOUT_NS: Final = 2 * SECOND_NS
RESTORE_TIMEOUT_NS: Final = 90 * SECOND_NS
"""How long all nodes may take to be members again once nothing else is wrong."""
MEMBERS_MIN: Final = 3

EVERY: Final = "every"
"""The value of a restoration that goes on until all nodes are members."""

KINDS: Final[Mapping[str, str]] = {
    "remove": "one member is removed",
    "remove-two": "two members are removed, each through another node, at the same time",
    "replace": "one member is removed; then it is added and another one removed at the same time",
}


class MembershipOptions(Options, frozen=True, kw_only=True):
    """Which changes to ask for."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "what to ask for, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            )
        ),
    ] = ",".join(KINDS)

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")


class Change(NamedTuple):
    """One request: a node to be made a member, or a member no longer, and the node that is asked first."""

    add: bool
    name: str
    via: str

    @property
    def words(self) -> str:
        """The change in a few words."""
        return f"{'add' if self.add else 'remove'} {self.name} through {self.via}"

    @classmethod
    def parse(cls, text: Any, nodes: Sequence[str]) -> Change:
        """The change that the words say; raises ``ValueError``, as the end of a sentence."""
        match = re.fullmatch(r"(add|remove) (\S+) through (\S+)", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} asks for no change: say remove n1 through n2, or add n1 through n2")
        check_nodes([match[2], match[3]], nodes, what="its nodes")
        return cls(match[1] == "add", match[2], match[3])


class MembershipNemesis(Nemesis[MembershipOptions]):
    """``change-members`` (value: the kind; the result says what became of each change) and ``restore-members``.

    ``asked`` in a result holds the changes, those that were asked for at the same time together; a table with such a
    list as the value of an operation asks for exactly these.
    """

    name = "membership"
    Options = MembershipOptions
    requires = frozenset({Membership})
    heals_last = True
    values: ClassVar[Mapping[str, Collection[str]]] = {"change-members": tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="membership", starts=("change-members",), stops=("restore-members",), color="#5f6caf"),
    )

    def __init__(self, options: MembershipOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("members")
        if context.membership is None:
            raise HarnessError(
                "the target cannot change its members, so there is nothing for this nemesis to do"
            )
        self._membership = context.membership

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A kind, or a table with what is ``asked`` for: lists of changes in words."""
        super().check_value(f, value, nodes)
        asked = rounds_of(value, nodes) if isinstance(value, Mapping) else None
        if f == "change-members" and isinstance(value, Mapping) and asked is None and "kind" not in value:
            raise ValueError('its table needs a kind (kind = "remove") or what is asked')

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"change-members", "restore-members"})

    def generator(self) -> Liftable:
        """Changes without end, each followed by one that makes members of some or all who are none."""
        kinds = chosen(self.options.kinds, KINDS, option="kinds")
        return FaultSchedule.first(
            Faults("change-members", "restore-members", kinds, in_parts=SOME), self.context
        )

    def final_generator(self) -> Liftable:
        """One step that makes every node a member."""
        return Operation(f="restore-members", value=EVERY)

    async def invoke(self, operation: Operation) -> Any:
        """Change or restore; that not every node is a member in the end is a ``FaultError``."""
        value = operation.value
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        rounds = rounds_of(asked, self.context.nodes)
        if rounds is not None:
            return {key: asked[key] for key in ("kind",) if key in asked} | await self._repeat(rounds)
        if operation.f == "change-members":
            return await self._shrink(str(value["kind"] if isinstance(value, Mapping) else value))
        if value == EVERY:
            return await self._restore_every()
        return await self._grow(some=value == SOME)

    async def _repeat(self, rounds: Sequence[Sequence[Change]]) -> dict[str, Any]:
        """Ask for what was asked for once, as long as members can be spared; after a refusal nothing builds on it."""
        changes: list[Change] = []
        outcomes: list[str] = []
        for together in rounds:
            members = await self._members()
            leaving = sum(not change.add for change in together)
            if leaving and (members is None or len(members) - leaving < MEMBERS_MIN):
                break
            changes += together
            outcomes += await self._perform(together)
            if leaving and set(outcomes) != {"done"}:
                break
        await self._close_entries()
        return {"changes": _told(changes, outcomes), "asked": _in_words(rounds)}

    async def _shrink(self, kind: str) -> Mapping[str, Any]:
        members = await self._members()
        if members is None:
            return {"kind": kind, "note": "nobody leads, so nobody could be asked"}
        doubtful = {name for fault in self.context.ledger.open_faults("membership") for name in fault.nodes}
        members = [name for name in members if name not in doubtful]  # a removal may still come about
        spare = len(members) - MEMBERS_MIN
        count = min(2 if kind == "remove-two" else 1, spare)
        if count < 1:
            return {"kind": kind, "note": f"no member can be spared: there are {len(members)}"}
        leaving = self._rng.sample(members, count)
        changes = [Change(False, name, via) for name, via in zip(leaving, self._asked(count), strict=True)]
        rounds = [list(changes)]
        outcomes = await self._perform(changes)
        if kind == "replace" and outcomes == ["done"]:
            staying = [name for name in members if name not in leaving]
            first, second = self._asked(2)
            swap = [Change(True, leaving[0], first), Change(False, self._rng.choice(staying), second)]
            changes += swap
            rounds.append(swap)
            outcomes += await self._perform(swap)
        return {"kind": kind, "changes": _told(changes, outcomes), "asked": _in_words(rounds)}

    async def _grow(self, *, some: bool) -> Mapping[str, Any]:
        members = await self._members()
        if members is None:
            return {"note": "nobody leads, so nobody could be asked"}
        missing = [name for name in self.context.nodes if name not in members]
        if some and missing:
            missing = self._rng.sample(missing, self._rng.between(1, len(missing)))
        changes = [Change(True, name, self._rng.choice(self.context.nodes)) for name in missing]
        outcomes: list[str] = []
        together = len(changes) > 1 and self._rng.chance(1, 2)
        rounds = [changes] if together else [[change] for change in changes]
        for asked in rounds:
            outcomes += await self._perform(asked)
        await self._close_entries()
        return {"changes": _told(changes, outcomes), "asked": _in_words(rounds)}

    async def _restore_every(self) -> Mapping[str, Any]:
        runtime = self.context.runtime
        deadline_ns = runtime.now() + RESTORE_TIMEOUT_NS
        steps: list[str] = []
        while True:
            members = await self._members()
            if members is not None:
                missing = [name for name in self.context.nodes if name not in members]
                if not missing:
                    await self._close_entries()
                    return {"changes": steps[-20:]}
                changes = [Change(True, missing[0], self._rng.choice(self.context.nodes))]
                steps += _told(changes, await self._perform(changes))
            if runtime.now() >= deadline_ns:
                break
            await runtime.sleep(CONFIRM_PAUSE_NS)
        reason = (
            "restore-members did not take: nobody leads"
            if members is None
            else f"restore-members did not take: still no members: {', '.join(missing)}"
        )
        for fault in self.context.ledger.open_faults("membership"):
            self.context.ledger.failed(fault.id, reason)
        raise FaultError(reason)

    # --- changes ------------------------------------------------------------------------------------------------

    async def _perform(self, changes: Sequence[Change]) -> list[str]:
        """Ask for the changes at the same time; what became of each: ``done``, ``refused: ...``, ``in doubt: ...``."""
        spawn = self.context.runtime.spawn
        tasks = [spawn(self._change(change), name=change.words) for change in changes]
        return [await task.wait() for task in tasks]

    async def _change(self, change: Change) -> str:
        """Ask for one change. A removal is a fault, and in the ledger; an addition is what heals it."""
        if change.add:
            return (await self._ask(self._membership.add, change))[0]
        ledger = self.context.ledger
        fault = ledger.planned(
            "membership", frozenset({change.name}), value=change.words, inverse=ENDS_WITH_HARNESS
        )
        outcome, refused = await self._ask(self._membership.remove, change)
        members = None if refused else await self._confirm_gone(change.name)
        if refused:
            ledger.healed(fault)  # nothing has happened
        elif members is not None:
            ledger.verified(fault, {"members": members})
        return outcome

    async def _ask(self, ask: Callable[[str, str], Awaitable[None]], change: Change) -> tuple[str, bool]:
        """Ask within a bound; in words what became of it, and whether it was refused for certain."""

        async def bounded() -> None:
            await ask(change.name, change.via)

        try:
            await self.context.runtime.timeout(bounded(), CHANGE_TIMEOUT_NS)
        except Definite as refusal:
            return f"refused: {refusal}", True
        except TimeoutExpired:
            return f"in doubt: no answer within {CHANGE_TIMEOUT_NS // SECOND_NS} s", False
        except (OperationError, ConnectionClosed, ConnectionRefused) as doubt:
            return f"in doubt: {doubt}", False
        return "done", False

    async def _confirm_gone(self, name: str) -> list[str] | None:
        """The members as soon as the name is not among them; ``None`` when it still is, or nobody says."""
        for attempt in range(CONFIRM_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(CONFIRM_PAUSE_NS)
            members = await self._members()
            if members is not None and name not in members:
                return members
        return None

    async def _close_entries(self) -> None:
        """Every removal whose node is a member (again) is healed; one that is in doubt is settled with that."""
        members = await self._members()
        for fault in self.context.ledger.open_faults("membership"):
            if members is not None and set(fault.nodes) <= set(members):
                self.context.ledger.healed(fault.id)

    async def _members(self) -> list[str] | None:
        """The nodes that are members now, in order."""

        async def ask() -> frozenset[str] | None:
            return await self._membership.members()

        try:
            members = await self.context.runtime.timeout(ask(), ASK_TIMEOUT_NS)
        except TimeoutExpired:
            return None
        return None if members is None else [name for name in self.context.nodes if name in members]

    def _asked(self, count: int) -> list[str]:
        """Different nodes to send requests to."""
        return self._rng.sample(self.context.nodes, count)


def _told(changes: Sequence[Change], outcomes: Sequence[str]) -> list[str]:
    return [f"{change.words}: {outcome}" for change, outcome in zip(changes, outcomes, strict=True)]


def _in_words(rounds: Sequence[Sequence[Change]]) -> list[list[str]]:
    return [[change.words for change in together] for together in rounds]


def rounds_of(value: Mapping[str, Any], nodes: Sequence[str]) -> list[list[Change]] | None:
    """The changes that a value asks for, those of one time together; ``None`` where it leaves them to the draw.

    Raises ``ValueError``, as the end of a sentence, for what cannot be read.
    """
    if "asked" not in value:
        return None
    rounds = value["asked"]
    if not isinstance(rounds, list) or not all(isinstance(together, list) for together in rounds):
        raise ValueError('its asked must be a list of lists such as [["remove n1 through n2"]]')
    return [[Change.parse(text, nodes) for text in together] for together in rounds]
