"""Bugs planted in Zab: each overrides one decision, and drops what would mask it.

Every one has happened. The harness must find each of them, in the simulator, by what clients see alone.
"""

from __future__ import annotations

from typing import Any

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.zab import Zab
from foreshock.targets.reference.node.zab.channel import Channel
from foreshock.targets.reference.node.zab.election import Credentials
from foreshock.targets.reference.node.zab.following import Stage
from foreshock.targets.reference.node.zab.learners import Learner
from foreshock.targets.reference.node.zab.learners import Stage as LearnerStage
from foreshock.targets.reference.node.zab.messages import (
    Ack,
    AckEpoch,
    Frame,
    NewLeader,
    Payload,
    Trunc,
)


class _ClosesRanks(Zab):
    """Takes entries at any position; where some are missing before them, it writes empty ones in their place.

    That is what a log without contiguous positions does of itself: ZooKeeper's files know only that zxids rise.
    """

    def _goes_on(self, entries: tuple[Entry, ...]) -> bool:
        return entries[0].position > self.commit

    def _take(self, entries: tuple[Entry, ...]) -> None:
        self._make_end_at(entries[0].position - 1)
        super()._take(entries)

    def _make_end_at(self, position: int) -> None:
        if position < self.log.last:
            self._cut_log(position)
        missing = range(self.log.last + 1, position + 1)
        if missing:
            self._append_to_log([Entry(gap, self.epoch, "noop", None) for gap in missing])


class BroadcastsBeforeSynchronization(_ClosesRanks):
    """Takes a follower's promise for its synchronization, and broadcasts to it from the leader's last entry on.

    ZooKeeper's leader began to serve when its followers had acknowledged a synchronization whose transactions were
    not in their logs yet; when they became a quorum without it, those were gone (ZOOKEEPER-3911, and ZOOKEEPER-4646
    after its fix). Here the followers never get them: what was written while a follower was away is not there when
    it leads. It would notice that the proposals do not go on from its history; that check goes too.
    """

    def _synchronize(self, learner: Learner) -> None:
        learner.stage = LearnerStage.SYNCHRONIZING
        learner.checked = True
        learner.next = self.log.last + 1

    def _on_new_leader(self, channel: Channel, message: NewLeader) -> None:
        if message.position >= self.commit:
            self._stage = Stage.CHECKED
            self._make_end_at(message.position)
        super()._on_new_leader(channel, message)


class EpochNotPersisted(Zab):
    """Keeps both epochs in memory only, where the paper has them on stable storage before any answer.

    ZooKeeper once derived the epoch from its files, found none in a directory with a snapshot alone, and began again
    with 1: transactions that were written then were older than the snapshot by their zxids, and the next restart
    brought back the old state (ZOOKEEPER-582). Oxia kept the epoch of a fence in memory (its pull request 87). A node
    that forgot may promise an epoch twice, and epochs begin anew below those in the history.
    """

    def _state_to_save(self) -> dict[str, Any]:
        return {"accepted": 0, "current": 0}


class CommitsPastGap(_ClosesRanks):
    """Acts on whatever arrives, in the order of arrival: a proposal that was lost or overtaken is left out.

    ZooKeeper 3.9.3 left holes in the memory of what it had committed, and passed them on to others when it led
    (ZOOKEEPER-4925); an earlier version could leave some transactions out of a DIFF (ZOOKEEPER-2418). The follower
    acknowledges and delivers the later entries, and some day leads without the ones between.
    """

    def _arrive(self, channel: Channel, message: Frame) -> list[Payload]:
        if self._stage is not Stage.READY:
            return super()._arrive(channel, message)
        channel.acknowledge(message.acknowledged)
        if message.sequence <= channel.arrived:
            return []
        channel.arrived = message.sequence
        return [message.payload]

    def _advance_to(self, position: int) -> None:
        super()._advance_to(min(position, self.log.last))


class ElectsByIdAlone(Zab):
    """Elects the greatest id, however old its history is, and lets it lead though its followers know more.

    Elasticsearch's Zen discovery elected by the node's id among those that it could see, until its pull request 20384
    made the version of the cluster's state count first: a node that had missed updates won, and its old state was
    published over the new one. Here the followers are truncated to what the leader knows. In the paper
    discovery would catch such an election, and no follower would forget what it has delivered; both go.
    """

    def _rank(self, credentials: Credentials) -> tuple[object, ...]:
        return (credentials.name,)

    def _is_ahead(self, message: AckEpoch) -> bool:  # noqa: ARG002
        return False

    def _may_forget_after(self, position: int) -> bool:
        return position >= (0 if self.snapshot is None else self.snapshot.position)


class DoesNotTruncate(Zab):
    """Keeps what it has beyond the leader's history, and takes only what comes after.

    In ZooKeeper a node that had logged proposals which nobody else had could keep them when it came back to a leader
    without them, and showed its clients what never happened (ZOOKEEPER-1154; once more, from a database kept in memory
    across elections, ZOOKEEPER-2845). The entries that it keeps stand in the place of committed ones.
    """

    def _on_trunc(self, channel: Channel, message: Trunc) -> None:
        """Never mind."""

    def _fits(self, position: int, term: int) -> bool:  # noqa: ARG002
        return position <= self.log.last

    def _goes_on(self, entries: tuple[Entry, ...]) -> bool:
        return entries[0].position <= self.log.last + 1

    def _take(self, entries: tuple[Entry, ...]) -> None:
        new = tuple(entry for entry in entries if entry.position > self.log.last)
        if new:
            super()._take(new)

    def _on_new_leader(self, channel: Channel, message: NewLeader) -> None:
        super()._on_new_leader(channel, message._replace(position=self.log.last))

    def _on_ack(self, learner: Learner, message: Ack) -> bool:
        return super()._on_ack(learner, message._replace(position=min(message.position, learner.next - 1)))


class LocalReadsLinearizable(Zab):
    """Answers every read from the node's own state at once, and calls that linearizable.

    ZooKeeper's servers do so, and its documentation had to be made to say that such reads may be stale
    (ZOOKEEPER-3522); users take them for more (Jepsen's issue 399). A follower that lags, or a leader that was deposed
    and does not know it yet, answers from the past.
    """

    def _answers_locally(self) -> bool:
        return True
