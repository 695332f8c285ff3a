"""The scripts of the Redis cache.

For each key there may be a *copy* (its text begins with the version of the value), a *filling* that says that somebody
is about to fill it, and a *ticket* that says when he began: by the server's own clock, as the time that the ticket has
left to live. A copy's own time counts from there, since the origin is read after that. So a fill that comes late makes
a copy that does not live long, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from foreshock.targets.redis.scripts import Call, Script

HIT: Final = 1
WAIT: Final = 2
FILL: Final = 0


def _look_up(call: Call, keys: Sequence[str], arguments: Sequence[str]) -> Any:
    copy = call("GET", keys[0])
    if copy is not None:
        return [HIT, copy]
    if call("SET", keys[1], arguments[0], "NX", "PX", arguments[1]) is None:
        return [WAIT]
    call("SET", keys[2], arguments[0], "PX", arguments[2])
    return [FILL]


def _fill(call: Call, keys: Sequence[str], arguments: Sequence[str]) -> Any:
    token, term_ms, patience_ms, version, copy = arguments
    if call("GET", keys[2]) != token:
        return 0
    left_ms = call("PTTL", keys[2])
    call("DEL", keys[2])
    if call("GET", keys[1]) == token:
        call("DEL", keys[1])
    held = call("GET", keys[0])
    if held is not None and int(held.partition(" ")[0]) > int(version):
        return 0
    if term_ms == "0":
        call("SET", keys[0], copy)
        return 1
    rest_ms = int(term_ms) - (int(patience_ms) - left_ms)
    if rest_ms <= 0:
        return 0
    call("SET", keys[0], copy, "PX", rest_ms)
    return 1


LOOK_UP: Final = Script(
    lua="""
local copy = redis.call('GET', KEYS[1])
if copy then return {1, copy} end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {2} end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
return {0}
""",
    meaning=_look_up,
)
"""Keys: copy, filling, ticket; arguments: the client's token, how long others wait for it, how long it has (ms).

The copy, or leave to fill it, or that somebody else fills it.
"""

FILL_IN: Final = Script(
    lua="""
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[3])
redis.call('DEL', KEYS[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
local held = redis.call('GET', KEYS[1])
if held and tonumber(string.match(held, '^%d+')) > tonumber(ARGV[4]) then return 0 end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[5])
  return 1
end
local rest = tonumber(ARGV[2]) - (tonumber(ARGV[3]) - left)
if rest <= 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[5], 'PX', string.format('%d', rest))
return 1
""",
    meaning=_fill,
)
"""Keys: copy, filling, ticket; arguments: token, how long the copy lives from the ticket on (ms; 0: for good), how long
the ticket was to live, the version, and the copy. 1 when it is kept: the ticket is the token's, and not too old, and
the copy that is there is not of a later version."""

CACHE_SCRIPTS: Final = (LOOK_UP, FILL_IN)
