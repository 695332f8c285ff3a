"""What ``docs/campaigns.md`` shows is so: its files can be run, its keys are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from tests.commands import run_here
from tests.documents import blocks

from foreshock.harness.campaign.admission import (
    BYTES_BY_NODE,
    BYTES_OF_ANOTHER,
    CORES_BY_HARNESS,
    CORES_BY_NODE,
    CORES_OF_ANOTHER,
    HARNESS_BYTES,
    MIB,
)
from foreshock.harness.campaign.document import CampaignDocument
from foreshock.harness.campaign.planning import plan_campaign
from foreshock.harness.campaign.specification import KEYS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "campaigns.md").read_text()


def test_the_file_that_is_shown_has_the_tests_that_it_says(tmp_path: Path) -> None:
    (shown,) = blocks(DOCUMENT, "toml")
    path = tmp_path / "nightly.toml"
    path.write_text(shown)
    planned = plan_campaign(path)
    assert planned.count == 11 * 20 + 2 * 2
    rates = {one.cell["rate"] for one in planned.combinations if one.cell["target"] == "raft"}
    assert rates == {"100", "300"}


def test_the_table_has_every_key() -> None:
    table = DOCUMENT.partition("## The keys")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    shown = [word.strip("[]") for row in rows for word in re.findall(r"`([^`]+)`", row)]
    assert sorted(shown) == sorted(KEYS)


def test_the_weights_are_those_that_are_used() -> None:
    rows = {
        cells[0]: cells[1:]
        for line in DOCUMENT.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
    }
    nodes = {name: (CORES_BY_NODE[name], BYTES_BY_NODE[name]) for name in CORES_BY_NODE}
    for name, (cores, memory) in {**nodes, "another": (CORES_OF_ANOTHER, BYTES_OF_ANOTHER)}.items():
        assert rows[name] == [
            f"{CORES_BY_HARNESS}, and {cores} a node",
            f"{HARNESS_BYTES // MIB} MiB, and {memory // MIB} MiB a node",
        ]


def test_the_example_has_200_simulated_tests_and_12_real_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.harness.backends.docker.DockerBackend.available", lambda _: None)
    code, out, err = run_here(
        capsys, "campaign", str(ROOT / "examples" / "campaign.toml"), "--dry-run", "--json"
    )
    assert code == 0, err
    tests = msgspec.json.decode(out)["tests"]
    assert [sum(test["cell"]["backend"] == name for test in tests) for name in ("sim", "docker")] == [200, 12]


def test_one_test_of_every_simulated_combination_of_the_example_comes_out_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "examples" / "campaign.toml").read_text().partition("# The same nodes in containers")[0]
    path = tmp_path / "campaign.toml"
    path.write_text(text.replace("seeds = 10", "seeds = 1").replace("time-limit = 15", "time-limit = 2"))
    code, out, err = run_here(
        capsys, "campaign", str(path), "--rerun", "0", "--json", "--store", str(tmp_path / "store")
    )
    document = msgspec.json.decode(out, type=CampaignDocument)
    assert document.complete
    assert document.planned == 20
    assert {row.outcome for row in document.rows if row.cell["bug"] == "none"} == {"passed"}, err
    assert code in (0, 1)  # whether two seconds are enough for a planted bug is not the question here
