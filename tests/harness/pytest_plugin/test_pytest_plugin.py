"""Chaos tests as tests of pytest, seen by whoever runs them: each case writes a test file and runs pytest on it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from tests.commands import nothing_left, only_run, recorded, until

import foreshock.harness.pytest_plugin.fixture
from foreshock.harness.cli.main import main
from foreshock.harness.registry import Kind, load, names

# A pytest within this one forgets at its end what it imported, and NumPy cannot be imported twice: so it all is here.
assert foreshock.harness.pytest_plugin.fixture
for kind in Kind:
    for name in names(kind):
        load(kind, name)

pytest_plugins = ["pytester"]

QUICK = '@pytest.mark.foreshock(target="raft", backend="sim", nodes=3, time_limit=1, nemesis="kill", interval=0.3)\n'
VALID = f"""
import pytest

{QUICK}
def test_it(foreshock):
    result = foreshock.test()
    assert result.verdict == "valid"
    print("seed", result.seed)
"""
BUG = """
def test_bug(foreshock):
    foreshock.test(target="naive-raft", nemesis="partition,kill", backend="sim", time_limit=4, interval=1)
"""
"""Invalid with every seed that was tried."""


def outcomes(result: pytest.RunResult, **wanted: int) -> str:
    result.assert_outcomes(**wanted)
    return result.stdout.str()


def test_a_valid_test_passes_and_leaves_nothing_behind(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(VALID)
    outcomes(pytester.runpytest("-p", "no:cacheprovider"), passed=1)
    store = pytester.path / ".foreshock"
    assert [path.name for path in store.iterdir()] == [".gitignore"]


def test_the_reports_of_other_tests_are_not_held_in_memory(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
import pytest

def pytest_sessionfinish(session):
    held = [item.name for item in session.items if any(
        isinstance(value, dict) and any(isinstance(one, pytest.TestReport) for one in value.values())
        for value in item.stash._storage.values()
    )]
    print("held:", held)
""")
    pytester.makepyfile(VALID + "\ndef test_other(): pass\n")
    said = outcomes(pytester.runpytest("-p", "no:cacheprovider", "-s"), passed=2)
    assert "held: []" in said


def test_all_runs_are_kept_where_that_is_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(VALID)
    outcomes(pytester.runpytest("--foreshock-keep", "all", "--foreshock-store", "mine"), passed=1)
    run = only_run(pytester.path / "mine")
    assert (run / "report.html").is_file()
    assert not (pytester.path / ".foreshock").exists()


def test_the_failure_is_the_counterexample_and_both_commands_run_it_again(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    pytester.makepyfile(test_bug=BUG)
    said = outcomes(pytester.runpytest("--foreshock-seed", "6"), failed=1)
    run = only_run(pytester.path / ".foreshock")
    assert re.search(r"^E +Invalid: \w+: ", said, re.MULTILINE)
    assert "What happened" in said
    assert re.search(r"^E +(fault in force|last fault) +(partition|kill)", said, re.MULTILINE)
    assert re.search(r"^E +seed +6$", said, re.MULTILINE)
    assert f"report          .foreshock/{run.parent.name}/{run.name}/report.html" in said
    assert (run / "report.html").is_file()
    assert "Traceback" not in said
    assert "pytest_plugin" not in said, "no frame of ours between the test and the counterexample"
    by_pytest, by_command = re.findall(r"^E +again +(.*)$", said, re.MULTILINE)
    assert by_pytest == "pytest test_bug.py::test_bug --foreshock-seed 6"
    history = (run / "history.jsonl").read_bytes()
    capsys.readouterr()
    assert main([*shlex.split(by_command)[1:], "--store", "again", "--no-report", "--json"]) == 1
    assert (only_run(pytester.path / "again") / "history.jsonl").read_bytes() == history
    outcomes(pytester.runpytest(*shlex.split(by_pytest)[1:], "--foreshock-store", "third"), failed=1)
    assert (only_run(pytester.path / "third") / "history.jsonl").read_bytes() == history


def test_a_wrong_word_in_the_configuration_is_said(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nforeshock_keep = everything\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*foreshock_keep = 'everything': give failed or all")


def test_what_a_target_says_does_not_steer_the_terminal(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from foreshock.targets.reference.raft_target import Raft

        class Loud(Raft):
            def client(self, service, context):
                raise RuntimeError("\\x1b[31mred")

        def test_loud(foreshock):
            foreshock.test(target=Loud, backend="sim", time_limit=1, nodes=3)
        """
    )
    said = outcomes(pytester.runpytest("--color=no"), failed=1)
    assert r"RuntimeError: \x1b[31mred" in said
    assert "\x1b" not in said


def test_a_seed_that_is_none_is_said_by_its_value(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--foreshock-seed", "-1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*--foreshock-seed: '-1' is no seed: give a whole number from 0")


def test_a_class_is_a_target_and_its_command_finds_it(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    pytester.makepyfile(
        test_mine="""
        from foreshock.nemesis.kill import KillNemesis
        from foreshock.targets.reference.raft_target import Raft
        from foreshock.workloads.register import RegisterWorkload

        class Mine(Raft):
            default_nodes = 3

        def test_it(foreshock):
            result = foreshock.test(
                target=Mine, workload=RegisterWorkload, nemesis=[KillNemesis, "pause"], backend="sim", time_limit=2,
                options={"target": {"election_timeout_min_ms": 200}},
            )
            assert result.judgement.target == "test_mine.py:Mine"
            assert result.judgement.nemeses == ("kill", "pause")
            assert result.judgement.workload == "register"
            print("again:", result.again[1])

        def test_inner(foreshock):
            class Inner(Mine):
                pass
            result = foreshock.test(target=Inner, backend="sim", time_limit=1)
            print("only:", result.again)
        """
    )
    said = outcomes(pytester.runpytest("-rP", "--foreshock-seed", "5"), passed=2)
    again = re.search(r"^again: (foreshock test --target test_mine.py:Mine .*)$", said, re.MULTILINE)
    assert again is not None
    assert main([*shlex.split(again[1])[1:], "--no-report", "-q"]) == 0
    assert "only: ['pytest test_mine.py::test_inner --foreshock-seed 5']" in said


def test_a_file_is_found_beside_the_test(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("deep")
    (folder / "mydb.py").write_text(
        "from foreshock.targets.reference.raft_target import Raft\nclass MyDB(Raft): pass\n"
    )
    (folder / "test_db.py").write_text(
        "def test_it(foreshock):\n"
        "    result = foreshock.test(target='mydb.py:MyDB', backend='sim', time_limit=1)\n"
        "    assert result.judgement.target == 'deep/mydb.py:MyDB'\n"
    )
    outcomes(pytester.runpytest("deep/test_db.py"), passed=1)


def test_what_was_found_can_be_asserted_upon(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(foreshock):
            result = foreshock.test(
                target="naive-lock", workload="lock", nemesis="pause", backend="sim", time_limit=2, seed=1, check=False
            )
            assert result.verdict == "invalid"
            assert result.seed == 1
            assert result.summary.operations["ok"] > 10
            assert result.reason.startswith(f"{result.summary.checker}: ")
            assert {"acquire", "release"} <= set(result.history.clients().names)
            assert len(result.history.frame) == len(result.history)
            assert result.harness_errors == ()
            assert result.report.name == "report.html" and result.report.is_file()
            assert "invalid" in repr(result)
            assert result.again[0].endswith("::test_it")
        """
    )
    outcomes(pytester.runpytest(), passed=1)


def test_a_violation_can_be_what_is_expected(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        LOCK = dict(workload="lock", backend="sim", expect="invalid")

        def test_found(foreshock):
            foreshock.test(target="naive-lock", time_limit=1, **LOCK)

        def test_not_found(foreshock):
            foreshock.test(target="raft", time_limit=1, **LOCK)
        """
    )
    said = outcomes(pytester.runpytest("--foreshock-seed", "1"), passed=1, failed=1)
    assert "NotFound: a violation was expected, and every checker found the history of" in said


def test_unknown_and_what_the_harness_could_not_do_fail_and_are_told_apart(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from foreshock.harness import Definite
        from foreshock.targets.reference.raft_target import Raft
        from foreshock.targets.reference.register_client import ReferenceRegisterClient

        class Refuses(ReferenceRegisterClient):
            async def read(self, key): raise Definite("closed")
            async def write(self, key, value): raise Definite("closed")
            async def cas(self, key, old, new): raise Definite("closed")

        class Closed(Raft):
            services = {"register": Refuses}

        class NeverSetUp(Raft):
            async def set_up(self, cluster, runtime): raise RuntimeError("no table")

        def test_unknown(foreshock):
            foreshock.test(target=Closed, backend="sim", time_limit=1)

        def test_harness(foreshock):
            foreshock.test(target=NeverSetUp, backend="sim", time_limit=1)
        """
    )
    said = outcomes(pytester.runpytest(), failed=2)
    assert re.search(r"^E +Unknown: not one of \d+ operations succeeded", said, re.MULTILINE)
    assert re.search(r"^E +HarnessFailed: .*RuntimeError: no table \(test_\w+\.py, line", said, re.MULTILINE)


MISUSES = {
    "target='raaft'": "Misused: there is no target 'raaft' (did you mean 'raft'",
    "target=dict": "Misused: target=dict is no target: it is not a subclass of foreshock.harness.Target",
    "tarket='raft'": "Misused: foreshock.test() has no setting 'tarket' (did you mean 'target'",
    "time_limit=0": "Misused: time_limit=0 is out of bounds: expected a number > 0",
    "rate='fast'": "Misused: rate='fast' is no number",
    "nemesis=3": "Misused: nemesis=3 is no nemesis: give its name, file.py:Class, or the class itself",
    "target=int": "is not a subclass of foreshock.harness.Target",
    "options=3": "Misused: options=3 is no dict",
    "options={'no': 1}": "Misused: there is no option 'no' here",
    "expect='good'": "Misused: expect='good' is nothing to expect: say 'valid' or 'invalid'",
    "backend='moon'": "Misused: there is no backend 'moon'",
    "seed='a'": "Misused: seed='a' is out of bounds: expected a whole number",
    "bug=7": "Misused: bug=7 is out of bounds: expected text",
    "seeds=3": "Misused: seeds is for the marker, which runs the test once for each: foreshock.test() takes one seed",
    "options={1: 2}": "Misused: options={1: 2} has the name 1, which is no text",
    "check='no'": "Misused: check='no' is neither True nor False",
}
MISUSED_MARKERS = {
    "tarket='raft'": "Misused: foreshock.test() has no setting 'tarket' (did you mean 'target'",
    "'raft'": "Misused: the marker foreshock takes settings by name, and got 'raft' without",
    "options=3": "Misused: options=3 is no dict",
    "expect='invalid'": "Misused: expect is for the call foreshock.test(), and the marker has it",
}


def test_what_is_wrong_is_said_in_one_sentence(pytester: pytest.Pytester) -> None:
    cases = "\n".join(
        f"def test_{number}(foreshock):\n    foreshock.test({call})\n" for number, call in enumerate(MISUSES)
    )
    marked = "\n".join(
        f"@pytest.mark.foreshock({marker})\ndef test_marked_{number}(foreshock):\n    foreshock.test()\n"
        for number, marker in enumerate(MISUSED_MARKERS)
    )
    pytester.makepyfile(f"import pytest\n{cases}\n{marked}")
    sentences = [*MISUSES.values(), *MISUSED_MARKERS.values()]
    said = outcomes(pytester.runpytest(), failed=len(sentences))
    assert [sentence for sentence in sentences if sentence not in said] == []
    assert "pytest_plugin" not in said, "no frame of ours"
    assert not (pytester.path / ".foreshock").exists()


@pytest.mark.parametrize(
    ("call", "options", "skipped"),
    [
        ("target=NeedsIt, backend='process'", (), "the program 'no-such-program' is not on the PATH"),
        ("target=NeedsIt, backend='process'", ("--foreshock-require",), None),
    ],
)
def test_what_this_machine_lacks_is_skipped_with_its_reason_or_fails(
    call: str, options: tuple[str, ...], skipped: str | None, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        "from foreshock.targets.reference.raft_target import Raft\n"
        "class NeedsIt(Raft):\n"
        "    binaries = ('no-such-program',)\n"
        f"def test_it(foreshock):\n    foreshock.test({call}, time_limit=1)\n"
    )
    result = pytester.runpytest("-rs", *options)
    if skipped:
        assert skipped in outcomes(result, skipped=1)
    else:
        said = outcomes(result, failed=1)
        assert "Misused: " in said
        assert not options or "it was not skipped, as --foreshock-require asks" in said


def test_a_marker_asks_for_several_seeds_each_reported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
import pytest

@pytest.mark.foreshock(seeds=2)
{QUICK}
def test_next(foreshock):
    foreshock.test()
    foreshock.test(time_limit=1)

@pytest.mark.foreshock(seeds=[7, 3], target="raft", backend="sim", time_limit=1)
def test_these(foreshock):
    assert "--foreshock-seed" not in foreshock.test().again[0]
"""
    )
    said = outcomes(
        pytester.runpytest("--foreshock-seed", "40", "--junitxml=out.xml", "-v", "-o", "junit_family=xunit1"),
        passed=4,
    )
    assert "foreshock: seed 40" in said
    found = {
        case.attrib["name"]: {
            item.attrib["name"]: item.attrib["value"]
            for item in case.iter("property")
            if "seed" in item.attrib["name"]
        }
        for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")
    }
    assert found == {
        "test_next[seed0]": {"foreshock_seed": "40", "foreshock_seed_2": "1040"},
        "test_next[seed1]": {"foreshock_seed": "41", "foreshock_seed_2": "1041"},
        "test_these[seed=7]": {"foreshock_seed": "7"},
        "test_these[seed=3]": {"foreshock_seed": "3"},
    }


@pytest.mark.parametrize(
    ("marker", "body", "sentence"),
    [
        ("seeds=0", "foreshock", "seeds=0 is no choice of seeds: give how many (1 to 1000), or a list"),
        ("seeds='a'", "foreshock", "seeds='a' is no choice of seeds: give how many (1 to 1000), or a list"),
        ("seeds=2", "", "its marker asks for seeds, but it does not take the fixture 'foreshock'"),
    ],
)
def test_a_marker_that_means_nothing_is_an_error(
    marker: str, body: str, sentence: str, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.foreshock({marker})\ndef test_it({body}): pass\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert sentence in result.stdout.str()


def test_a_marker_of_a_test_that_runs_none_is_warned_about(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
import pytest

@pytest.mark.foreshock(target="raft")
def test_idle(): pass

@pytest.mark.foreshock(target="raft")
def test_asks_later(request): pass

@pytest.mark.foreshock(target="raft")
class TestSome:
    def test_plain(self): pass
""")
    said = outcomes(pytester.runpytest(), passed=3)
    assert said.count("its marker foreshock does nothing, for it does not take the fixture") == 1
    assert "test_idle: its marker" in said


def test_the_command_line_goes_before_the_test_and_the_file_after_it(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nforeshock_backend = sim\nforeshock_time_limit = 1\n")
    pytester.makepyfile(
        """
        def test_file(foreshock):
            found = foreshock.test(target="raft", nodes=3).judgement
            print("file", found.backend, found.replay)

        def test_call(foreshock):
            print("call", foreshock.test(target="raft", nodes=3, time_limit=1.5, backend="process").judgement.replay)
        """
    )
    options = ("--foreshock-backend", "sim", "--foreshock-time-limit", "2")
    said = outcomes(pytester.runpytest("-rP", "-k", "test_file"), passed=1)
    assert re.search("file sim .* --time-limit 1$", said, re.MULTILINE)
    said = outcomes(pytester.runpytest("-rP", "-k", "test_call", *options), passed=1)
    assert re.search("call .* --backend sim .* --time-limit 2$", said, re.MULTILINE)
    assert re.search(
        r"pytest .*::test_call --foreshock-seed \d+ --foreshock-backend sim --foreshock-time-limit 2", said
    )


def test_without_a_seed_each_run_draws_one_and_tells_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(VALID)
    seeds = {
        re.findall(r"^seed (\d+)", outcomes(pytester.runpytest("-rP"), passed=1), re.MULTILINE)[0]
        for _ in "ab"
    }
    assert len(seeds) == 2


def test_a_failure_is_run_with_its_seed_again_until_it_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
import pathlib, pytest

{QUICK}
def test_it(foreshock):
    print("chosen", foreshock.test(time_limit=0.3).seed)
    assert pathlib.Path("mended").exists()
""")

    def seed(*arguments: str, **wanted: int) -> str:
        return re.findall(r"chosen (\d+)", outcomes(pytester.runpytest("-s", *arguments), **wanted))[0]

    assert seed("--foreshock-seed", "7", failed=1) == "7"
    assert seed("--lf", failed=1) == "7"
    (pytester.path / "mended").touch()
    assert seed(passed=1) == "7"
    assert seed(passed=1) != "7"


def test_a_running_loop_and_another_thread_are_refused_in_a_sentence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, threading

        def test_loop(foreshock):
            async def inner():
                foreshock.test(target="raft", backend="sim", time_limit=1)
            asyncio.run(inner())

        def test_thread(foreshock):
            caught = []
            def inner():
                try:
                    foreshock.test(target="raft", backend="sim", time_limit=1)
                except AssertionError as error:
                    caught.append(error)
            thread = threading.Thread(target=inner, name="mine")
            thread.start()
            thread.join()
            raise caught[0]

        def test_own_loop_stays_whole(foreshock):
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            foreshock.test(target="raft", backend="sim", time_limit=1)
            assert loop.run_until_complete(asyncio.sleep(0, 7)) == 7
            loop.close()
        """
    )
    said = outcomes(pytester.runpytest(), failed=2, passed=1)
    assert "was called within a running one: make the test a plain function (def, not async def)" in said
    assert (
        "must be called in the main thread, which alone can be interrupted and heal; this is the thread 'mine'"
        in said
    )


def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass\n")
    outcomes(pytester.runpytest_subprocess("-p", "no:foreshock"), passed=1)


def test_nothing_of_the_harness_is_imported_before_a_test_asks_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert [name for name in sys.modules if name.startswith("foreshock")] == [
                "foreshock", "foreshock.harness", "foreshock.harness.pytest_plugin"
            ]
            assert not {"numba", "pandas", "numpy", "msgspec", "click", "asyncio"} & set(sys.modules)
        """
    )
    outcomes(
        pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:cov"), passed=1
    )


def test_tests_on_two_workers_do_not_collide(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.foreshock(seeds=2, target="raft", backend="process", nodes=3, time_limit=1.5)
        def test_real(foreshock):
            foreshock.test(nemesis="partition,kill", interval=0.3, operation_timeout_ms=1000)

        @pytest.mark.foreshock(seeds=2, target="raft", backend="sim", time_limit=1)
        def test_sim(foreshock):
            foreshock.test()
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "--foreshock-keep", "all", "--junitxml=out.xml")
    result.assert_outcomes(passed=4)
    names = ElementTree.parse(pytester.path / "out.xml").iter("property")
    values = [item.attrib["value"] for item in names if item.attrib["name"] == "foreshock_seed"]
    assert len(values) == 4
    assert len(set(values)) == 2, "all workers count from the seed of the controller"
    runs = [
        path.parent
        for path in (pytester.path / ".foreshock").glob("*/*/results.json")
        if path.parts[-3] != "latest"
    ]
    assert {json.loads((run / "results.json").read_text())["exit"] for run in runs} == {0}
    assert len(runs) == 4


def test_ctrl_c_heals_tears_down_and_ends_pytest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_long(foreshock):
            foreshock.test(target="raft", backend="process", nodes=3, nemesis="kill,pause", interval=0.3, time_limit=60)

        def test_after(foreshock):
            raise AssertionError("nobody should come here")
        """
    )
    store = pytester.path / ".foreshock"
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: recorded(store) > 60, "operations")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in out
    assert "nobody should come here" not in out
    results = json.loads((only_run(store) / "results.json").read_text())
    assert (results["interrupted"], results["harness_errors"]) == (True, [])
    nothing_left(only_run(store))
    ledger = [json.loads(line) for line in (only_run(store) / "faults.jsonl").read_text().splitlines()]
    assert {e["id"] for e in ledger if e["event"] == "planned"} == {
        e["id"] for e in ledger if e["event"] == "healed"
    }
