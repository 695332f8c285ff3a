"""What shows how a hunt, a shrinking or the zoo goes: by where stderr goes, and by what else is asked for."""

from __future__ import annotations

import sys

import pytest

from foreshock.harness.cli.common import choose_view
from foreshock.harness.shrinking.view import LineTicker, LiveTicker, Ticker


@pytest.mark.parametrize(
    ("terminal", "quiet", "as_json", "kind"),
    [
        (True, False, False, LiveTicker),
        (True, False, True, LineTicker),
        (False, False, False, LineTicker),
        (False, False, True, LineTicker),
        (True, True, False, Ticker),
        (False, True, True, Ticker),
    ],
)
def test_a_panel_is_for_a_terminal_alone_and_quiet_is_silent(
    terminal: bool, quiet: bool, as_json: bool, kind: type[Ticker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with choose_view(Ticker, LineTicker, LiveTicker, quiet=quiet, as_json=as_json) as ticker:
        assert type(ticker) is kind
