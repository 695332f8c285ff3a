"""A campaign's file: what it says is understood, and what is wrong in it is said with file, line and key."""

from __future__ import annotations

import socket
from pathlib import Path
from unittest.mock import Mock

import pytest

from foreshock.harness.campaign.planning import plan_campaign
from foreshock.harness.campaign.specification import Seeds, Specification, parse_duration, read_specification
from foreshock.harness.cli.main import main
from foreshock.harness.errors import UsageError

SMALL = """\
name = "small"
seeds = 2
[defaults]
backend = "sim"
time-limit = 1
[matrix]
target = ["raft", "paxos"]
nemesis = ["kill", "partition,kill"]
"""


def read(tmp_path: Path, text: str) -> Specification:
    path = tmp_path / "campaign.toml"
    path.write_text(text)
    return read_specification(path)


def refusal(tmp_path: Path, text: str) -> str:
    """What is said of a file that cannot be meant, without its folder."""
    path = tmp_path / "campaign.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        plan_campaign(path)
    return str(refused.value).replace(f"{tmp_path}/", "")


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
name = "nightly.1"
seeds = { from = 100, count = 20 }
for = "1.5h"
jobs = 3
rerun = 0
fail_fast = true
report = "all"
keep = "failures"
give-up-after = 90
[defaults]
time_limit = 20
nodes = 3
options.mode = "aside"
options.target.copies = 2
[matrix]
target = "raft"
bug = ["none", "raft/vote-not-persisted"]
options.mode = ["aside", "leases"]
rate = [100, 500.5]
[[exclude]]
bug = "none"
options.mode = ["leases"]
[[adjust]]
where = { rate = 500.5 }
deadline = 9
seeds = [1, 4]
[[include]]
target = ["zab", "paxos"]
seeds = 1
""",
    )
    assert (found.name, found.for_s, found.jobs, found.rerun, found.fail_fast) == (
        "nightly.1",
        5400.0,
        3,
        0,
        True,
    )
    assert (found.report, found.keep, found.give_up_after_s) == ("all", "failures", 90.0)
    assert found.seeds == Seeds(first=100, count=20)
    assert found.defaults == {
        "time-limit": 20.0,
        "nodes": "3",
        "options.mode": "aside",
        "options.target.copies": 2,
    }
    assert found.matrix == {
        "target": ("raft",),
        "bug": (None, "raft/vote-not-persisted"),
        "options.mode": ("aside", "leases"),
        "rate": (100.0, 500.5),
    }
    assert found.excluded[0].where == {"bug": (None,), "options.mode": ("leases",)}
    assert found.adjusted[0].where == {"rate": (500.5,)}
    assert found.adjusted[0].settings == {"deadline": 9.0}
    assert found.adjusted[0].seeds == Seeds(listed=(1, 4))
    assert found.included[0].axes == {"target": ("zab", "paxos")}
    assert found.included[0].seeds == Seeds(count=1)


def test_a_campaign_without_a_name_has_its_files_and_one_seed(tmp_path: Path) -> None:
    found = read(tmp_path, '[matrix]\ntarget = ["raft"]\n')
    assert found.name == "campaign"
    assert found.seeds == Seeds(count=1)
    assert read(tmp_path, 'for = "10s"\n[matrix]\ntarget = "raft"\n').seeds == Seeds(count=None)


WRONG = {
    "a key of the file": ("sedes = 3\n", "line 1: there is no key 'sedes' (did you mean 'seeds'"),
    "a key of a table": (
        '\n[matrix]\ntarget = "raft"\nwokload = ["lock"]\n',
        "line 4: there is no key 'wokload' in [matrix] (did you mean 'workload'?)",
    ),
    "a dotted key": (
        'matrix.target = "raft"\nmatrix.nemeses = "kill"\n',
        "line 2: there is no key 'nemeses' in [matrix] (did you mean 'nemesis'",
    ),
    "a quoted key": (
        '[matrix]\ntarget = "raft"\n"bugs" = ["none"]\n',
        "line 3: there is no key 'bugs' in [matrix] (did you mean 'bug'?)",
    ),
    "a key in an inline table": (
        'seeds = { form = 3 }\n[matrix]\ntarget = "raft"\n',
        "line 1: there is no key 'form' in [seeds] (did you mean 'from'?)",
    ),
    "a key of the second of several tables": (
        '[matrix]\ntarget = ["raft", "zab"]\n[[exclude]]\ntarget = "raft"\n[[exclude]]\ntargets = "zab"\n',
        "line 6: there is no key 'targets' in [[exclude]] (did you mean 'target'?)",
    ),
    "a key after text of several lines": (
        'name = """\nx"""\n[matrix]\n# target = "a"\ntraget = "raft"\n',
        "line 5: there is no key 'traget' in [matrix] (did you mean 'target'",
    ),
    "a target in a list over several lines": (
        '[matrix]\ntarget = [\n  "raft",  # good\n  "pax",\n]\n',
        "line 4: there is no target 'pax' (did you mean 'paxos'?)",
    ),
    "one of several nemeses": (
        '[matrix]\ntarget = "raft"\nnemesis = ["kill", "kill,prtition"]\n',
        "line 3: there is no nemesis 'prtition' (did you mean 'partition'?)",
    ),
    "a workload in the defaults": (
        '[defaults]\nworkload = "lok"\n[matrix]\ntarget = "raft"\n',
        "line 2: there is no workload 'lok' (did you mean 'lock'?)",
    ),
    "a backend": (
        '[matrix]\ntarget = "raft"\nbackend = "simm"\n',
        "line 3: there is no backend 'simm' (did you mean 'sim'?)",
    ),
    "a bug": (
        '[matrix]\ntarget = "raft"\nbug = ["raft/vote-not-persistet"]\n',
        "line 3: there is no bug 'raft/vote-not-persistet' (did you mean 'raft/vote-not-persisted'",
    ),
    "a number that is text": (
        '[defaults]\nrate = "fast"\n[matrix]\ntarget = "raft"\n',
        "line 2: 'rate' cannot be 'fast': expected a number",
    ),
    "a number out of bounds": (
        '[defaults]\ntime-limit = 0\n[matrix]\ntarget = "raft"\n',
        "line 2: 'time-limit' cannot be 0: expected a number > 0",
    ),
    "a list where one value is wanted": (
        '[defaults]\nnemesis = ["kill", "pause"]\n[matrix]\ntarget = "raft"\n',
        "line 2: 'nemesis' is one value here, and no list: several nemeses at once are one text",
    ),
    "another list where one value is wanted": (
        '[defaults]\nrate = [1, 2]\n[matrix]\ntarget = "raft"\n',
        "line 2: 'rate' is one value here, and no list: several values make an axis of [matrix]",
    ),
    "an axis without a value": (
        "[matrix]\ntarget = []\n",
        "line 2: 'target' has no value: leave it out, or give at least one",
    ),
    "a value that is there twice": (
        '[matrix]\ntarget = ["raft",\n"raft"]\n',
        "line 3: 'raft' is there twice in 'target'",
    ),
    "the same number, written otherwise": (
        '[matrix]\ntarget = "raft"\nnodes = [3, "3"]\n',
        "line 3: '3' is there twice in 'nodes'",
    ),
    "a key with a hyphen and with an underscore": (
        '[defaults]\ntime-limit = 1\ntime_limit = 2\n[matrix]\ntarget = "raft"\n',
        "line 3: 'time-limit' is there twice in [defaults]",
    ),
    "a table where a value is wanted": (
        '[defaults]\nrate = { a = 1 }\n[matrix]\ntarget = "raft"\n',
        "line 2: 'rate' must be a value, and no table",
    ),
    "a value where a table is wanted": ("matrix = 3\n", "line 1: 'matrix' must be a table"),
    "options that are no table": (
        '[defaults]\noptions = "mode"\n[matrix]\ntarget = "raft"\n',
        "line 2: 'options' must be a table",
    ),
    "a table where tables are wanted": (
        '[matrix]\ntarget = ["raft", "zab"]\n[exclude]\ntarget = "raft"\n',
        "line 3: 'exclude' must be tables: write [[exclude]] above each of them",
    ),
    "a seed in the settings": (
        '[defaults]\nseed = 3\n[matrix]\ntarget = "raft"\n',
        "line 2: there is no key 'seed' in [defaults]",
    ),
    "seeds that are no seeds": (
        'seeds = "many"\n[matrix]\ntarget = "raft"\n',
        "line 1: 'seeds' cannot be 'many': give a count, a list of seeds, or { from = 100, count = 20 }",
    ),
    "no seeds": (
        'seeds = 0\n[matrix]\ntarget = "raft"\n',
        "line 1: 'seeds' cannot be 0: give a whole number from 1 to 100000",
    ),
    "a seed that is there twice": (
        'seeds = [1,\n 2,\n 1]\n[matrix]\ntarget = "raft"\n',
        "line 3: the seed 1 is there twice",
    ),
    "a seed below zero": (
        'seeds = [-1]\n[matrix]\ntarget = "raft"\n',
        "line 1: 'seeds' cannot be -1: give a whole number from 0",
    ),
    "two words for one thing": (
        'seeds = 1\nrepeat = 2\n[matrix]\ntarget = "raft"\n',
        "line 2: 'repeat' is another word for 'seeds'",
    ),
    "a time without a unit": (
        'for = "30"\n[matrix]\ntarget = "raft"\n',
        """line 1: 'for' cannot be '30': give a time such as "90s", "30m" or "8h\"""",
    ),
    "a choice that there is not": (
        'report = "some"\n[matrix]\ntarget = "raft"\n',
        """line 1: 'report' cannot be 'some': give "all" or "failures" or "none\"""",
    ),
    "jobs": ('jobs = 0\n[matrix]\ntarget = "raft"\n', "line 1: 'jobs' cannot be 0"),
    "true as a number": ('rerun = true\n[matrix]\ntarget = "raft"\n', "line 1: 'rerun' cannot be True"),
    "a word as true": (
        'fail-fast = "yes"\n[matrix]\ntarget = "raft"\n',
        "line 1: 'fail-fast' cannot be 'yes'",
    ),
    "a name that no folder can have": (
        'name = "../up"\n[matrix]\ntarget = "raft"\n',
        "line 1: '../up' is no name for a campaign",
    ),
    "a date": (
        '[defaults]\noptions.locks = 2001-01-01\n[matrix]\ntarget = "raft"\n',
        "line 2: 'options.locks' cannot be a date or a time",
    ),
    "nothing to test": ("seeds = 3\n", "line 1: there is nothing to test"),
    "an exclude of an axis that is none": (
        '[matrix]\ntarget = ["raft", "zab"]\n[[exclude]]\nworkload = "lock"\n',
        "line 4: 'workload' is no axis of [matrix] (known: target)",
    ),
    "an exclude of a value that is none": (
        '[matrix]\ntarget = ["raft", "zab"]\n[[exclude]]\ntarget = "paxos"\n',
        "line 4: 'paxos' is no value of the axis 'target' (known: raft, zab)",
    ),
    "an exclude of everything": (
        '[matrix]\ntarget = ["raft"]\n[[exclude]]\n',
        "line 3: an [[exclude]] without any key would leave out everything",
    ),
    "an include of nothing": (
        '[matrix]\ntarget = ["raft"]\n[[include]]\nseeds = 3\n',
        "line 3: an [[include]] must say what is to be tested beside the matrix",
    ),
    "excludes that leave nothing": (
        '[matrix]\ntarget = ["raft"]\n[[exclude]]\ntarget = "raft"\n',
        "line 3: every combination is excluded: nothing is left to test",
    ),
    "an adjust without where": (
        '[matrix]\ntarget = ["raft"]\n[[adjust]]\nrate = 3\n',
        "line 3: an [[adjust]] must say which combinations it is for",
    ),
    "an adjust of nothing": (
        '[matrix]\ntarget = ["raft"]\n[[adjust]]\nwhere.target = "raft"\n',
        "line 3: this [[adjust]] gives no setting",
    ),
    "an adjust of an axis": (
        '[matrix]\ntarget = ["raft"]\nrate = [1, 2]\n[[adjust]]\nwhere.target = "raft"\nrate = 3\n',
        "line 6: 'rate' is an axis of [matrix]",
    ),
    "an adjust of what is not there": (
        '[matrix]\ntarget = ["raft"]\n[[adjust]]\nwhere.target = "zab"\nrate = 3\n',
        "line 4: 'zab' is no value of the axis 'target' (known: raft)",
    ),
    "the same test twice": (
        '[matrix]\ntarget = ["raft"]\nbackend = "sim"\n\n[[include]]\ntarget = "raft"\nbackend = "sim"\n',
        "line 5: the test of target raft, workload register, backend sim with seed 0 is there already, by line 1",
    ),
    "too many combinations": (
        "[matrix]\ntarget = 'raft'\n" + "".join(f"options.o{n} = {list(range(90))}\n" for n in range(3)),
        "line 1: 729000 combinations are too many",
    ),
    "too many tests": (
        'seeds = 60_000\n[matrix]\ntarget = ["raft", "zab"]\n',
        "line 1: 2 combinations make 120000 tests, and at most 100000 are taken",
    ),
    "text that is no TOML": ('[matrix]\ntarget = ["raft"\n', "is not TOML: Unclosed array (at"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_line(case: str, tmp_path: Path) -> None:
    text, said = WRONG[case]
    refused = refusal(tmp_path, text)
    assert said in refused
    assert refused.startswith("campaign.toml, ") or "TOML" in said
    assert "\n" not in refused


def test_a_combination_that_cannot_be_tested_is_said_with_the_exclude_that_mends_it(tmp_path: Path) -> None:
    wrong = """\
seeds = 2
[defaults]
backend = "sim"
[matrix]
target = ["raft", "naive-lock", "naive-cache"]
workload = ["lock", "register"]
"""
    refused = refusal(tmp_path, wrong)
    assert refused.startswith(
        "campaign.toml, line 4: target=naive-lock workload=register: the workload 'register' needs the service "
        "'register', and the target 'naive-lock' offers lock\n"
    )
    mend = refused.partition("add:\n")[2]
    assert mend.count("[[exclude]]") == 2
    (tmp_path / "campaign.toml").write_text(wrong + mend)
    planned = plan_campaign(tmp_path / "campaign.toml")
    assert [(one.cell["target"], one.cell["workload"]) for one in planned.combinations] == [
        ("raft", "lock"),
        ("raft", "register"),
        ("naive-lock", "lock"),
    ]


def test_a_combination_by_ssh_whose_hosts_nobody_named_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror("not known")))
    (tmp_path / "config").write_text("")
    text = f"""\
[matrix]
target = "raft"
backend = ["sim", "ssh"]
[[adjust]]
where = {{ backend = "ssh" }}
options.ssh.config = "{tmp_path}/config"
"""
    refused = refusal(tmp_path, text)
    assert "target=raft backend=ssh: node n1: the ssh configuration has no such host" in refused
    assert "say where it is (-o ssh.hosts=n1=USER@ADDRESS)" in refused
    assert refused.endswith('[[exclude]]\nbackend = "ssh"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[matrix]\ntarget = [\n"raft",\n"./none.py:Mine"]\n',
            "line 4: target=./none.py:Mine: there is no file",
        ),
        (
            '[matrix]\ntarget = "raft"\noptions.nosuch = 1\n',
            "line 3: target=raft options.nosuch=1: there is no option",
        ),
        (
            '[defaults]\nrate = 5\nschedule = "none.toml"\n[matrix]\ntarget = "raft"\n',
            "line 3: target=raft: the sch",
        ),
        (
            '[matrix]\ntarget = "raft"\n\n[[include]]\ntarget = "zab"\nnodes = 0\n',
            "line 4: target=zab nodes=0: 0 no",
        ),
        ('[matrix]\ntarget = "raft"\nnemesis = ["", "none"]\n', "line 3: 'none' is there twice in 'nemesis'"),
    ],
)
def test_what_planning_refuses_is_said_with_the_line_of_the_value(
    text: str, said: str, tmp_path: Path
) -> None:
    assert said in refusal(tmp_path, text)


def test_an_include_that_cannot_be_tested_is_said_with_its_line(tmp_path: Path) -> None:
    refused = refusal(
        tmp_path, SMALL + '[[include]]\ntarget = "naive-raft"\nbackend = "sim"\nnemesis = "membership"\n'
    )
    assert refused.startswith(
        "campaign.toml, line 9: target=naive-raft backend=sim nemesis=membership: the nemesis"
    )
    assert "[[exclude]]" not in refused


def test_a_program_that_is_missing_is_said_with_its_package_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    refused = refusal(tmp_path, '[matrix]\ntarget = "redis-lock"\nworkload = "lock"\nbackend = "process"\n')
    assert (
        "line 1: target=redis-lock workload=lock backend=process: the program 'redis-server' is not"
        in refused
    )
    assert "apt-get install redis-server" in refused


def test_no_file_and_no_regular_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", str(tmp_path / "none.toml"), "--store", str(tmp_path / "s")]) == 4
    assert "cannot be read: No such file" in capsys.readouterr().err
    assert main(["campaign", str(tmp_path), "--store", str(tmp_path / "s")]) == 4
    assert main(["campaign", "/dev/zero", "--store", str(tmp_path / "s")]) == 4
    assert "is no regular file" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "1/2/3", ""])
def test_a_shard_that_is_none(shard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(SMALL)
    assert main(["campaign", str(tmp_path / "c.toml"), "--shard", shard]) == 4
    assert "is no shard: give its number and how many there are, such as 1/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800), (7, 7), (0.5, 0.5), ("1 h", 3600)],
)
def test_times(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "-1s", "0s", "1w", "1h30m", True, None, 0, -5, float("nan"), "40d", [1]]
)
def test_what_is_no_time(text: object) -> None:
    assert parse_duration(text) is None
