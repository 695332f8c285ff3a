"""What may be tuned in a Zab node; every value may be drawn from a test's seed."""

from __future__ import annotations

from typing import Final, NamedTuple

from foreshock.targets.reference.node.knob_checks import check_choice, check_heartbeat, check_integers

READ_MODES: Final = ("linearizable", "sync", "local")


class ZabKnobs(NamedTuple):
    """Time-outs and limits of one replica, and how it reads. None can break the agreement on the log."""

    reads: str = "linearizable"
    """``linearizable``: the leader answers after a quorum has confirmed its epoch. ``sync``: ZooKeeper's ``sync`` and
    then a read of the node's own state: the leader says what it has committed without asking a quorum, so that a
    leader that was deposed and does not know it yet lets a read see the past. ``local``: the node's own state."""

    heartbeat_ms: int = 60
    """How often a leader speaks to every follower; ZooKeeper's ``tickTime``."""

    sync_limit_ms: int = 400
    """How long leader and follower may be silent before they give each other up, and how long a leader leads without
    a quorum of live followers; ZooKeeper's ``tickTime * syncLimit``."""

    init_limit_ms: int = 1_000
    """How long discovery and synchronization may go without progress; ZooKeeper's ``tickTime * initLimit``."""

    notification_min_ms: int = 60
    """How long a node that looks for a leader waits before it repeats its vote; doubled at each repetition."""

    notification_max_ms: int = 500
    """The longest of these waits."""

    finalize_ms: int = 40
    """How long a node with a quorum of votes waits for a better one; nobody waits who has heard all members."""

    commit_delay_ms: int = 5
    """How long a leader keeps a COMMIT back for the next proposal to carry it; 0: it is sent at once, alone."""

    batch_entries_max: int = 64
    """The most entries in one message."""

    batch_bytes_max: int = 256 * 1024
    """About the most bytes of entries in one message; a single larger entry still goes, alone."""

    inflight_messages_max: int = 8
    """How many messages with entries or pieces of a snapshot may be on their way to one follower."""

    uncommitted_entries_max: int = 4096
    """How many entries of a leader may wait for their commitment before it refuses new ones."""

    pending_reads_max: int = 4096
    """How many reads may wait at a node before it refuses new ones."""

    snapshot_after_entries: int = 1000
    """How many applied entries the driver lets pass before it takes a snapshot (the core leaves that to it)."""

    snapshot_keep_entries: int = 64
    """How many entries before a snapshot stay in memory, so that a follower a little behind gets a DIFF, not a SNAP."""

    snapshot_chunk_bytes: int = 512 * 1024
    """A snapshot whose JSON text is longer than this travels in pieces of this length."""

    catch_up_timeout_ms: int = 10_000
    """How long a new member gets to synchronize before it becomes one."""

    def checked(self) -> ZabKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when they cannot work together."""
        check_choice("reads", self.reads, READ_MODES)
        from_zero = ("snapshot_keep_entries", "finalize_ms", "commit_delay_ms")
        check_integers(self, from_zero=from_zero, besides=("reads",))
        check_heartbeat(self, "sync_limit_ms")
        if self.notification_max_ms < self.notification_min_ms:
            raise ValueError(
                f"notification_max_ms ({self.notification_max_ms}) must be at least notification_min_ms "
                f"({self.notification_min_ms})"
            )
        return self
