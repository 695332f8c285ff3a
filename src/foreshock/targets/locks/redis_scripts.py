"""The scripts of the Redis locks. A lock is a key whose value names its owner; one that is not there is free.

Comparing before deleting, in one step with it, is what the Redis documentation asks of a lock ("Distributed Locks with
Redis", the single instance): a holder whose time ran out must not remove the lock of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from foreshock.targets.redis.scripts import Call, Script


def _acquire(call: Call, keys: Sequence[str], arguments: Sequence[str]) -> Any:
    if call("SET", keys[0], arguments[0], "NX", "PX", arguments[1]) is None:
        return None
    return call("INCR", keys[1])


def _renew(call: Call, keys: Sequence[str], arguments: Sequence[str]) -> Any:
    return call("PEXPIRE", keys[0], arguments[1]) if call("GET", keys[0]) == arguments[0] else 0


def _release(call: Call, keys: Sequence[str], arguments: Sequence[str]) -> Any:
    return call("DEL", keys[0]) if call("GET", keys[0]) == arguments[0] else 0


ACQUIRE_WITH_TOKEN: Final = Script(
    lua="""
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
return redis.call('INCR', KEYS[2])
""",
    meaning=_acquire,
)
"""Keys: the lock and its counter; arguments: owner and time to live in ms. The fencing token, or nil."""

RENEW: Final = Script(
    lua="""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""",
    meaning=_renew,
)
"""Key: the lock; arguments: owner and time to live in ms. 1 when it is the owner's, else 0."""

RELEASE: Final = Script(
    lua="""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""",
    meaning=_release,
)
"""Key: the lock; argument: owner. 1 when it was the owner's, else 0."""

LOCK_SCRIPTS: Final = (ACQUIRE_WITH_TOKEN, RENEW, RELEASE)
