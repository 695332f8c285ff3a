"""Interrupts: which signals they are, and that handlers come back."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from foreshock.harness.interrupts import catch_interrupts, interrupt_signals


@pytest.fixture
def hangup() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_calls_back_and_its_handler_comes_back(number: signal.Signals) -> None:
    calls: list[int] = []
    before = signal.getsignal(number)
    with catch_interrupts(lambda: calls.append(1)):
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert calls == [1, 1]
    assert signal.getsignal(number) == before


@pytest.mark.usefixtures("hangup")
def test_under_nohup_a_closed_terminal_interrupts_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert signal.SIGHUP not in interrupt_signals()
    calls: list[int] = []
    with catch_interrupts(lambda: calls.append(1)):
        signal.raise_signal(signal.SIGHUP)
    assert calls == []
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
