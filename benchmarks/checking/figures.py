"""How figures are printed and compared with their aims."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """What the run came to: wrong verdicts, which fail it, and aims that were missed, which are told."""

    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def verdict(self, what: str, got: str, *allowed: str) -> None:
        """A verdict, and what it may be."""
        if got not in allowed:
            self.wrong.append(f"{what}: {got}, where {' or '.join(allowed)} is right")

    def aim(self, what: str, reached: bool) -> str:
        """Whether an aim is reached, in a word."""
        if not reached:
            self.missed.append(what)
        return "reached" if reached else "MISSED"

    def conclude(self) -> int:
        """Print what is left to say; returns the exit code."""
        print()
        for missed in self.missed:
            print(f"missed: {missed}")
        for wrong in self.wrong:
            print(f"WRONG: {wrong}")
        if not self.wrong:
            print("every verdict is right" + ("" if self.missed else ", and every aim is reached"))
        return 1 if self.wrong else 0


def title(text: str) -> None:
    """Begin a table."""
    print(f"\n-- {text} --", flush=True)


def ratio(peer_s: float, ours_s: float) -> str:
    """How many times faster than the peer."""
    return f"{peer_s / ours_s:.1f} x" if ours_s > 0 else "-"
