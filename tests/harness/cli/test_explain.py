from __future__ import annotations

from foreshock.harness.cli.explain import explain

WRITE = {"invoke_index": 0, "complete_index": 1, "process": 0, "type": "ok", "label": "write 1"}
CRASHED = {"invoke_index": 2, "complete_index": -1, "process": 1, "type": "info", "label": "write 2"}
READ = {"invoke_index": 3, "complete_index": 4, "process": 2, "type": "ok", "label": "read 3"}

EXPECTED = """\
key 'x': nothing wrote 3

  process    0  [-------]                               write 1
  process    1                  [-----------------...   write 2
  process    2                          [-------]       read 3  <- impossible

  possible just before: 1, 2
  write 2 by process 1 needs the value to be absent
"""


def test_the_core_is_drawn_on_a_grid_of_event_order() -> None:
    text = explain(
        {
            "key": "x",
            "reason": "nothing wrote 3",
            "core": [0, 2, 3],
            "impossible": 3,
            "states": ["1", "2"],
            "needed": {"2": "the value to be absent"},
            "operations": [READ, WRITE, CRASHED],
        }
    )
    assert text == EXPECTED
