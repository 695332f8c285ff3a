"""Pure generators: values that say which operation comes next.

The names and their meanings are Jepsen's; times are in ns. What a generator *is* stands in
:mod:`foreshock.harness.generator.base`.
"""

from foreshock.harness.generator.base import PENDING, Context, Generator, Liftable, Pending
from foreshock.harness.generator.choosing import any_of, each_process, each_thread, flip_flop, mix
from foreshock.harness.generator.limiting import limit, once, process_limit, time_limit
from foreshock.harness.generator.native import Directive, lift, op, update
from foreshock.harness.generator.routing import clients, nemesis, on_threads, reserve
from foreshock.harness.generator.sequencing import concat, cycle, phases, repeat, synchronize, then, until_ok
from foreshock.harness.generator.timing import delay, log, sleep, stagger
from foreshock.harness.generator.transforming import filter_ops, fn, map_ops

__all__ = [
    "PENDING",
    "Context",
    "Directive",
    "Generator",
    "Liftable",
    "Pending",
    "any_of",
    "clients",
    "concat",
    "cycle",
    "delay",
    "each_process",
    "each_thread",
    "filter_ops",
    "flip_flop",
    "fn",
    "lift",
    "limit",
    "log",
    "map_ops",
    "mix",
    "nemesis",
    "on_threads",
    "once",
    "op",
    "phases",
    "process_limit",
    "repeat",
    "reserve",
    "sleep",
    "stagger",
    "synchronize",
    "then",
    "time_limit",
    "until_ok",
    "update",
]
