"""The commands of the simulated Redis, as Redis 7.0 answers them: replies, error texts, and what goes into the log.

Only strings, and only the commands and options that clients here use; anything else is an error reply that says so.
The differential test runs random commands on a real server and on these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from foreshock.targets.redis.keyspace import Entry, Keyspace
from foreshock.targets.redis.scripts import Script, digest_of

Reply = Any
Effect = list[Any]
"""One change of the keyspace: ``["set", key, value, expires_ms]``, ``["del", key]`` or ``["flush"]``."""

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LONG_MAX: Final = (1 << 63) - 1
_LONG_MIN: Final = -(1 << 63)
_NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
_SYNTAX: Final = "ERR syntax error"
_OUT_OF_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."
SCRIPTS_MAX: Final = 1000
"""How many scripts one life of a server remembers."""


class CommandError(Exception):
    """An error reply; its text begins with the error's code."""


class Commands:
    """Executes commands on a keyspace. The caller empties ``effects`` into its log after each command."""

    def __init__(self, keyspace: Keyspace, scripts: Iterable[Script]) -> None:
        self.keyspace = keyspace
        self.effects: list[Effect] = []
        self.hits = 0
        self.misses = 0
        self._now_ms = 0
        self._known = {script.digest: script for script in scripts}
        self._loaded: dict[str, Script] = {}
        """What this life of the server was given by EVAL or SCRIPT LOAD, and so finds by EVALSHA."""

    def execute(self, words: Sequence[str], now_ms: int) -> Reply:
        """Run one command at this wall time; raises :class:`CommandError`.

        A command that raises has changed nothing; a script keeps what it changed before its command that raised.
        """
        self._now_ms = now_ms
        try:
            return self._run(words)
        finally:
            # Redis logs an expiry or an eviction as a DEL, before the effects of the command that caused it.
            gone: list[Effect] = [["del", key] for key in self.keyspace.removed]
            self.keyspace.removed.clear()
            self.effects[:0] = gone

    def apply(self, effect: Effect) -> None:
        """Repeat a change that the log tells of."""
        match effect:
            case ["set", str(key), str(value), None | int() as expires_ms]:
                self.keyspace.put(key, Entry(value, expires_ms))
            case ["del", str(key)]:
                if self.keyspace.holds(key):
                    self.keyspace.delete(key)
            case ["flush"]:
                self.keyspace.clear()
            case _:
                raise ValueError(f"an effect that nobody has: {effect!r:.200}")

    # --- running ------------------------------------------------------------------------------------------------

    def _run(self, words: Sequence[str]) -> Reply:
        name = words[0].lower()
        command = _COMMANDS.get(name)
        if command is None:
            shown = "".join(f"'{word[:128]}' " for word in words[1:])
            raise CommandError(f"ERR unknown command '{words[0][:128]}', with args beginning with: {shown}")
        if not (len(words) == command.arity or (command.arity < 0 and len(words) >= -command.arity)):
            raise CommandError(f"ERR wrong number of arguments for '{name}' command")
        if not self.keyspace.make_room() and command.needs_memory:
            raise CommandError(_OUT_OF_MEMORY)
        return command.function(self, words[1:])

    def _evaluate(self, words: Sequence[str]) -> Reply:
        keys, arguments = _keys_and_arguments(words[1:])
        script = self._known.get(digest_of(words[0]))
        if script is None:
            raise CommandError("ERR the simulated server knows no meaning of this script")
        self._load(script)
        return script.meaning(self._call, keys, arguments)

    def _evaluate_digest(self, words: Sequence[str]) -> Reply:
        keys, arguments = _keys_and_arguments(words[1:])
        script = self._loaded.get(words[0].lower())
        if script is None:
            raise CommandError("NOSCRIPT No matching script. Please use EVAL.")
        return script.meaning(self._call, keys, arguments)

    def _script(self, words: Sequence[str]) -> Reply:
        match [words[0].lower(), *words[1:]]:
            case ["flush"]:
                self._loaded.clear()
                return "OK"
            case ["load", lua]:
                script = self._known.get(digest_of(lua))
            case _:
                raise CommandError(f"ERR the simulated server knows no SCRIPT {' '.join(words)[:128]}")
        if script is None:
            raise CommandError("ERR the simulated server knows no meaning of this script")
        self._load(script)
        return script.digest

    def _load(self, script: Script) -> None:
        if len(self._loaded) < SCRIPTS_MAX:
            self._loaded[script.digest] = script

    def _call(self, *words: str | int) -> Reply:
        """``redis.call`` within a script."""
        return self._run([str(word) for word in words])

    # --- reading ------------------------------------------------------------------------------------------------

    def _ping(self, words: Sequence[str]) -> Reply:
        if len(words) > 1:
            raise CommandError("ERR wrong number of arguments for 'ping' command")
        return words[0] if words else "PONG"

    def _get(self, words: Sequence[str]) -> Reply:
        entry = self._look_up(words[0])
        return None if entry is None else entry.value

    def _mget(self, words: Sequence[str]) -> Reply:
        return [self._get([key]) for key in words]

    def _exists(self, words: Sequence[str]) -> Reply:
        return sum(self.keyspace.get(key, self._now_ms, touch=False) is not None for key in words)

    def _pttl(self, words: Sequence[str]) -> Reply:
        entry = self.keyspace.get(words[0], self._now_ms, touch=False)
        if entry is None:
            return -2
        return -1 if entry.expires_ms is None else max(0, entry.expires_ms - self._now_ms)

    def _ttl(self, words: Sequence[str]) -> Reply:
        left_ms = self._pttl(words)
        return left_ms if left_ms < 0 else (left_ms + 500) // 1000

    def _dbsize(self, words: Sequence[str]) -> Reply:  # noqa: ARG002 - it takes none
        return len(self.keyspace)

    def _info(self, words: Sequence[str]) -> Reply:  # noqa: ARG002 - every section is always shown
        keyspace = self.keyspace
        lines = {
            "redis_version": "7.0.0",
            "redis_mode": "simulated",
            "used_memory": keyspace.used_bytes,
            "maxmemory": keyspace.maxmemory_bytes,
            "expired_keys": keyspace.expired,
            "evicted_keys": keyspace.evicted,
            "keyspace_hits": self.hits,
            "keyspace_misses": self.misses,
        }
        return "".join(f"{name}:{value}\r\n" for name, value in lines.items())

    def _look_up(self, key: str) -> Entry | None:
        entry = self.keyspace.get(key, self._now_ms)
        if entry is None:
            self.misses += 1
        else:
            self.hits += 1
        return entry

    # --- writing ------------------------------------------------------------------------------------------------

    def _set(self, words: Sequence[str]) -> Reply:
        key, value = words[0], words[1]
        options = _set_options(words[2:], self._now_ms)
        old = self.keyspace.get(key, self._now_ms)
        reply = None if old is None else old.value
        if (options.condition == "nx" and old is not None) or (options.condition == "xx" and old is None):
            return reply if options.get else None
        expires_ms = options.expires_ms
        if options.keep_ttl and old is not None:
            expires_ms = old.expires_ms
        self._put(key, Entry(value, expires_ms))
        return reply if options.get else "OK"

    def _delete(self, words: Sequence[str]) -> Reply:
        return sum(self._remove(key) for key in words)

    def _getdel(self, words: Sequence[str]) -> Reply:
        reply = self._get(words)
        self._remove(words[0])
        return reply

    def _increment(self, words: Sequence[str]) -> Reply:
        by = _integer(words[1]) if len(words) > 1 else 1
        old = self.keyspace.get(words[0], self._now_ms) or Entry("0")
        total = _integer(old.value) + by
        if not _LONG_MIN <= total <= _LONG_MAX:
            raise CommandError("ERR increment or decrement would overflow")
        self._put(words[0], Entry(str(total), old.expires_ms))
        return total

    def _expire(self, words: Sequence[str]) -> Reply:
        return self._expire_in(words, 1000, "expire")

    def _pexpire(self, words: Sequence[str]) -> Reply:
        return self._expire_in(words, 1, "pexpire")

    def _expire_in(self, words: Sequence[str], unit_ms: int, name: str) -> Reply:
        key, amount = words[0], _integer(words[1])
        if not _LONG_MIN // unit_ms <= amount <= (_LONG_MAX - self._now_ms) // unit_ms:
            raise CommandError(f"ERR invalid expire time in '{name}' command")
        if len(words) > 2:
            raise CommandError(f"ERR Unsupported option {words[2]}")
        entry = self.keyspace.get(key, self._now_ms)
        if entry is None:
            return 0
        if amount <= 0:
            self._remove(key)
        else:
            self._put(key, Entry(entry.value, self._now_ms + amount * unit_ms))
        return 1

    def _persist(self, words: Sequence[str]) -> Reply:
        entry = self.keyspace.get(words[0], self._now_ms)
        if entry is None or entry.expires_ms is None:
            return 0
        self._put(words[0], Entry(entry.value))
        return 1

    def _flushall(self, words: Sequence[str]) -> Reply:
        if words and [word.lower() for word in words] not in (["sync"], ["async"]):
            raise CommandError(_SYNTAX)
        self.keyspace.clear()
        self.effects.append(["flush"])
        return "OK"

    def _put(self, key: str, entry: Entry) -> None:
        self.keyspace.put(key, entry)
        self.effects.append(["set", key, entry.value, entry.expires_ms])

    def _remove(self, key: str) -> bool:
        if self.keyspace.get(key, self._now_ms) is None:
            return False
        self.keyspace.delete(key)
        self.effects.append(["del", key])
        return True


class _Command(NamedTuple):
    """How one command is run. ``arity`` counts its name, too; negative: at least so many words."""

    function: Callable[[Commands, Sequence[str]], Reply]
    arity: int
    needs_memory: bool = False


# ruff: noqa: SLF001 - the table below belongs to the class above
_COMMANDS: Final[dict[str, _Command]] = {
    "ping": _Command(Commands._ping, -1),
    "get": _Command(Commands._get, 2),
    "mget": _Command(Commands._mget, -2),
    "exists": _Command(Commands._exists, -2),
    "ttl": _Command(Commands._ttl, 2),
    "pttl": _Command(Commands._pttl, 2),
    "dbsize": _Command(Commands._dbsize, 1),
    "info": _Command(Commands._info, -1),
    "set": _Command(Commands._set, -3, needs_memory=True),
    "del": _Command(Commands._delete, -2),
    "unlink": _Command(Commands._delete, -2),
    "getdel": _Command(Commands._getdel, 2),
    "incr": _Command(Commands._increment, 2, needs_memory=True),
    "incrby": _Command(Commands._increment, 3, needs_memory=True),
    "expire": _Command(Commands._expire, -3),
    "pexpire": _Command(Commands._pexpire, -3),
    "persist": _Command(Commands._persist, 2),
    "flushall": _Command(Commands._flushall, -1),
    "eval": _Command(Commands._evaluate, -3),
    "evalsha": _Command(Commands._evaluate_digest, -3),
    "script": _Command(Commands._script, -2),
}


class _SetOptions(NamedTuple):
    condition: str = ""
    get: bool = False
    keep_ttl: bool = False
    expires_ms: int | None = None
    """Wall time."""


def _set_options(words: Sequence[str], now_ms: int) -> _SetOptions:
    """The options of SET; raises :class:`CommandError` as Redis does for those that exclude each other."""
    options = _SetOptions()
    timed: tuple[str, int] | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0).lower()
        if word in ("nx", "xx") and options.condition in ("", word):
            options = options._replace(condition=word)
        elif word == "get":
            options = options._replace(get=True)
        elif word == "keepttl" and timed is None:
            options = options._replace(keep_ttl=True)
        elif word in ("px", "ex") and timed is None and not options.keep_ttl and rest:
            timed = (rest.pop(0), 1000 if word == "ex" else 1)
        else:
            raise CommandError(_SYNTAX)
    return options if timed is None else options._replace(expires_ms=_expiry(*timed, now_ms))


def _keys_and_arguments(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What follows the script in EVAL: a count, so many keys, and the arguments."""
    count = _integer(words[0])
    if count > len(words) - 1:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    return words[1 : 1 + count], words[1 + count :]


def _expiry(word: str, unit_ms: int, now_ms: int) -> int:
    amount = _integer(word)
    if not 0 < amount <= (_LONG_MAX - now_ms) // unit_ms:
        raise CommandError("ERR invalid expire time in 'set' command")
    return now_ms + amount * unit_ms


def _integer(word: str) -> int:
    """A number as Redis reads it: no sign but a minus, no leading zeros, 64 bits."""
    if not _INTEGER.fullmatch(word) or not _LONG_MIN <= int(word) <= _LONG_MAX:
        raise CommandError(_NOT_AN_INTEGER)
    return int(word)
