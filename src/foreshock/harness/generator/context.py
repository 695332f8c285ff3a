"""The context that the interpreter keeps: which threads are free, which process each carries, what time it is."""

from __future__ import annotations

from typing import Final

from foreshock.harness.operation import NEMESIS
from foreshock.harness.randomness import RandomStream

_MEMO_MAX: Final = 4_096
"""How many sets of threads are remembered as tuples; beyond that they are made anew."""


class _Layout:
    """What all contexts of one test share: threads are bits of an integer, the nemesis is the highest."""

    __slots__ = ("_masks", "_tuples", "concurrency")

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._tuples: dict[int, tuple[int, ...]] = {}
        self._masks: dict[frozenset[int], int] = {}

    def threads(self, mask: int) -> tuple[int, ...]:
        """The threads of a mask: clients in order, then the nemesis."""
        found = self._tuples.get(mask)
        if found is None:
            if len(self._tuples) >= _MEMO_MAX:
                self._tuples.clear()
            # From the lowest bit up, as text: several times faster than shifting when there are many threads.
            threads = [thread for thread, bit in enumerate(bin(mask)[:1:-1]) if bit == "1"]
            if mask >> self.concurrency:
                threads[-1] = NEMESIS
            found = self._tuples[mask] = tuple(threads)
        return found

    def mask(self, threads: frozenset[int]) -> int:
        """The mask of some threads; those that the test does not have are left out."""
        found = self._masks.get(threads)
        if found is None:
            if len(self._masks) >= _MEMO_MAX:
                self._masks.clear()
            found = 0
            for thread in threads:
                if -1 <= thread < self.concurrency:
                    found |= self.bit(thread)
            self._masks[threads] = found
        return found

    def bit(self, thread: int) -> int:
        """The bit of a thread."""
        return 1 << (self.concurrency if thread == NEMESIS else thread)


class GeneratorContext:
    """An immutable context; see :class:`foreshock.harness.generator.base.Context`.

    ``threads`` and ``free`` list client threads in ascending order and the nemesis last.
    """

    __slots__ = ("_free", "_layout", "_processes", "_threads", "rng", "time_ns")

    time_ns: int
    rng: RandomStream

    def __init__(
        self,
        time_ns: int,
        rng: RandomStream,
        layout: _Layout,
        threads: int,
        free: int,
        processes: tuple[int, ...],
    ) -> None:
        self.time_ns = time_ns
        self.rng = rng
        self._layout = layout
        self._threads = threads
        self._free = free
        self._processes = processes

    @classmethod
    def start(cls, concurrency: int, rng: RandomStream, *, time_ns: int = 0) -> GeneratorContext:
        """The context at the start of a test: every thread is free, thread ``t`` carries process ``t``."""
        everything = (1 << (concurrency + 1)) - 1
        # The nemesis comes last, so that its thread, -1, finds it.
        processes = (*range(concurrency), NEMESIS)
        return cls(time_ns, rng, _Layout(concurrency), everything, everything, processes)

    @property
    def threads(self) -> tuple[int, ...]:
        """Every thread that the generator may use, busy or not."""
        return self._layout.threads(self._threads)

    @property
    def free(self) -> tuple[int, ...]:
        """The threads that have nothing in flight."""
        return self._layout.threads(self._free)

    def process(self, thread: int) -> int:
        """The process that the thread carries now."""
        return self._processes[thread]

    def thread(self, process: int) -> int:
        """The thread that carries, or carried, the process."""
        return process % self._layout.concurrency if process >= 0 else NEMESIS

    def thread_of_free(self, process: int) -> int | None:
        """The thread that carries the process now, if that thread is free."""
        concurrency = self._layout.concurrency
        if process < 0:
            return NEMESIS if self._free >> concurrency & 1 and process == NEMESIS else None
        thread = process % concurrency
        return thread if self._free >> thread & 1 and self._processes[thread] == process else None

    def some_free(self) -> int | None:
        """A free thread, each as likely; ``None`` when all are busy."""
        free = self._free
        if not free:
            return None
        threads = self._layout.threads(free)
        return threads[0] if len(threads) == 1 else threads[self.rng.below(len(threads))]

    def restrict(self, threads: frozenset[int]) -> GeneratorContext:
        """The same context with only some of its threads."""
        mask = self._layout.mask(threads)
        return GeneratorContext(
            self.time_ns, self.rng, self._layout, self._threads & mask, self._free & mask, self._processes
        )

    def at(self, time_ns: int) -> GeneratorContext:
        """The same context at another time."""
        return GeneratorContext(time_ns, self.rng, self._layout, self._threads, self._free, self._processes)

    def busy(self, thread: int) -> GeneratorContext:
        """The context after an operation has started on a thread."""
        free = self._free & ~(1 << (thread if thread >= 0 else self._layout.concurrency))
        return GeneratorContext(self.time_ns, self.rng, self._layout, self._threads, free, self._processes)

    def freed(self, thread: int, time_ns: int) -> GeneratorContext:
        """The context after the operation on a thread has ended."""
        free = self._free | 1 << (thread if thread >= 0 else self._layout.concurrency)
        return GeneratorContext(time_ns, self.rng, self._layout, self._threads, free, self._processes)

    def crashed(self, thread: int) -> GeneratorContext:
        """The context after a client thread's process has crashed: it carries the next one."""
        processes = list(self._processes)
        processes[thread] += self._layout.concurrency
        return GeneratorContext(
            self.time_ns, self.rng, self._layout, self._threads, self._free, tuple(processes)
        )

    def __repr__(self) -> str:
        return f"<context at {self.time_ns} ns, threads {self.threads}, free {self.free}>"
