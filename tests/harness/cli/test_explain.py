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


def row(at: int, label: str, f: str, value: object = None, result: object = None) -> dict[str, object]:
    shown = {"invoke_index": at, "complete_index": at + 1, "process": at, "type": "ok", "label": label}
    return {**shown, "f": f, "value": value, "result": result}


OLD = row(0, "write 3", "write", 3)
SWAP = row(1, "cas 3->7", "cas", [3, 7]) | {"complete_index": 5}
NEW = row(2, "write 6", "write", 6)
STRANGE = row(6, "read 7", "read", result=7)


def test_an_update_that_is_not_in_the_core_is_drawn_where_nothing_else_says_whence_the_value_came() -> None:
    counterexample = {"key": 0, "reason": "it is", "core": [0, 2, 6], "impossible": 6}
    with_source = explain({**counterexample, "operations": [OLD, SWAP, NEW, STRANGE]})
    (line,) = (line for line in with_source.splitlines() if "cas" in line)
    assert line.endswith("cas 3->7  (where 7 came from)")
    assert "read 7  <- impossible" in with_source
    without = explain({**counterexample, "operations": [OLD, NEW, STRANGE]})
    assert "came from" not in without


def test_an_update_is_not_drawn_when_the_core_speaks_of_its_value_already() -> None:
    seen = row(3, "read 7", "read", result=7)
    text = explain(
        {
            "key": 0,
            "reason": "it is",
            "core": [2, 3, 6],
            "impossible": 6,
            "operations": [SWAP, seen, NEW, STRANGE],
        }
    )
    assert "cas" not in text
