"""The plug-in beside others, and in places where they bring it: alarms, reruns, loops, classes of unittest."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest
from tests.commands import nothing_left, only_run
from tests.harness.pytest_plugin.test_pytest_plugin import QUICK, outcomes

pytest_plugins = ["pytester"]

ALARM = """
import signal

import pytest

from foreshock.nemesis.kill import KillNemesis


@pytest.fixture
def alarm():
    def rang(number, frame):
        pytest.fail("the time is up")  # as pytest-timeout's method signal does

    before = signal.signal(signal.SIGALRM, rang)
    yield
    assert signal.getsignal(signal.SIGALRM) is rang
    signal.signal(signal.SIGALRM, before)
"""


@pytest.mark.parametrize("backend", ["sim", "process"])
def test_a_test_that_an_alarm_cuts_heals_tears_down_and_fails_by_the_alarm(
    backend: str, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        f"""{ALARM}

class KillsAndRings(KillNemesis):
    rung = False

    async def invoke(self, operation):
        result = await super().invoke(operation)
        if not self.rung:
            self.rung = True
            try:
                raise LookupError("as what rings may find the harness: at work on an error of its own")
            except LookupError:
                signal.raise_signal(signal.SIGALRM)
        return result

def test_cut(foreshock, alarm):
    foreshock.test(
        target="raft", backend="{backend}", nemesis=KillsAndRings, nodes=3, interval=0.3, time_limit=600
    )

def test_after():
    pass
"""
    )
    said = outcomes(pytester.runpytest("--foreshock-seed", "4"), failed=1, passed=1)
    assert "Failed: the time is up" in said
    assert "LookupError" not in said
    assert "pytest_plugin" not in said, "no frame of ours between the test and the time-out"
    assert "again: pytest " in said
    run = only_run(pytester.path / ".foreshock")
    results = json.loads((run / "results.json").read_text())
    assert (results["interrupted"], results["harness_errors"]) == (True, [])
    ledger = [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]
    planned = {entry["id"] for entry in ledger if entry["event"] == "planned"}
    assert planned == {entry["id"] for entry in ledger if entry["event"] == "healed"} != set()
    nothing_left(run)


def test_an_alarm_before_anything_is_deployed_fails_by_the_alarm(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rings(*_: object, **__: object) -> None:
        import signal

        signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr("foreshock.harness.pytest_plugin.fixture.run_test", rings)
    pytester.makepyfile(
        f"{ALARM}\ndef test_cut(foreshock, alarm):\n    foreshock.test(target='raft', backend='sim')\n"
    )
    said = outcomes(pytester.runpytest(), failed=1)
    assert "Failed: the time is up" in said
    assert "KeyboardInterrupt" not in said


def test_an_alarm_that_raises_nothing_changes_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import signal
from foreshock.targets.reference.raft_target import Raft

rung = []

class Rings(Raft):
    def client(self, service, context):
        signal.raise_signal(signal.SIGALRM)
        return super().client(service, context)

def test_it(foreshock):
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    result = foreshock.test(target=Rings, backend="sim", nodes=3, time_limit=1)
    assert result.verdict == "valid" and not result.judgement.interrupted
    assert len(rung) > 0
    signal.signal(signal.SIGALRM, before)
"""
    )
    outcomes(pytester.runpytest(), passed=1)


def test_a_coroutine_is_refused_whichever_loop_runs_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            try:  # a loop that asyncio knows nothing of, as trio's
                pyfuncitem.obj(pyfuncitem.funcargs["foreshock"]).send(None)
            except StopIteration:
                pass
            return True
        """
    )
    pytester.makepyfile("async def test_it(foreshock):\n    foreshock.test(target='raft', backend='sim')\n")
    said = outcomes(pytester.runpytest("-p", "no:anyio"), failed=1)
    assert "Misused: foreshock.test() runs an event loop of its own" in said


def test_what_an_earlier_try_left_is_not_among_the_properties_of_the_next(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            item.user_properties.append(("theirs", 1))
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=nextitem, log=False)  # as pytest-rerunfailures does
            item._initrequest()
            runtestprotocol(item, nextitem=nextitem)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        """
    )
    pytester.makepyfile(
        f"import pytest\n{QUICK}def test_it(foreshock):\n    foreshock.test()\n    foreshock.test()\n"
    )
    outcomes(pytester.runpytest("--junitxml=out.xml", "-o", "junit_family=xunit1"), passed=1)
    names = [item.attrib["name"] for item in ElementTree.parse(pytester.path / "out.xml").iter("property")]
    ours = ["foreshock_seed", "foreshock_verdict", "foreshock_run"]
    assert names == ["theirs", *ours, *(f"{name}_2" for name in ours)]


def test_a_failure_has_its_report_where_warnings_are_errors_and_the_cache_cannot_be_written(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / ".pytest_cache").write_text("no folder")
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.filterwarnings('error')\n{QUICK}"
        "def test_it(foreshock):\n    foreshock.test()\n    raise AssertionError('not so')\n"
    )
    outcomes(pytester.runpytest(), failed=1, errors=1)
    assert (only_run(pytester.path / ".foreshock") / "report.html").is_file()


def test_a_class_of_unittest_gets_the_fixture_and_not_several_seeds(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
import unittest
import pytest

class Base(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, foreshock):
        self.foreshock = foreshock

{QUICK}
class TestOnce(Base):
    def test_it(self):
        self.assertEqual(self.foreshock.test().verdict, "valid")

@pytest.mark.foreshock(seeds=2)
class TestTwice(Base):
    def test_it(self):
        self.foreshock.test(target="raft", backend="sim")
"""
    )
    said = outcomes(pytester.runpytest(), passed=1, errors=1)
    assert "its marker asks for seeds, which pytest cannot give to a method of unittest.TestCase" in said
    assert "Traceback" not in said
    assert "pytest_plugin" not in said


def test_seeds_of_a_class_are_for_those_of_its_methods_that_run_chaos_tests(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.foreshock(seeds=2, target="raft", backend="sim", nodes=3, time_limit=0.5)
        class TestIt:
            def test_chaos(self, foreshock):
                foreshock.test()

            def test_other(self):
                pass
        """
    )
    outcomes(pytester.runpytest("-W", "error"), passed=3)
