"""Campaigns on a Dask cluster of worker processes: what comes back, from whom, and what becomes of it when one dies."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import distributed
import msgspec
import psutil
import pytest

from foreshock.harness.campaign import dask_cluster, dask_worker
from foreshock.harness.campaign.dask_cluster import WorkerPlace
from foreshock.harness.campaign.dask_executor import DaskExecutor, _UnderWay
from foreshock.harness.campaign.dask_worker import Order
from foreshock.harness.campaign.document import CampaignTest
from foreshock.harness.campaign.executor import Finished, Job
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.plan import resolve
from foreshock.harness.process_pool import Ended
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import HISTORY, TEST, Store, read_json
from foreshock.harness.summary import read_summary

DEADLINE_S = 600.0
WORKERS = ("one", "two", "victim")
QUICK = Request(target="raft", workload="register", backend="sim", time_limit=3, seed=0)
LONG = msgspec.structs.replace(QUICK, time_limit=1000, rate=1000)
REAL = msgspec.structs.replace(QUICK, backend="process", time_limit=60, nodes="3")


class Cluster:
    """A scheduler and workers, each a process, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._dask("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._said("scheduler", r"Scheduler at:\s+(tcp://\S+)")

    def begin_worker(self, name: str, *options: str) -> None:
        local = self.folder / name
        self._dask(
            name, "worker", self.address, "--name", name, "--no-nanny", "--no-dashboard", "--nthreads", "1",
            "--memory-limit", "0", "--local-directory", str(local), *options,
        )  # fmt: skip

    def await_worker(self, name: str) -> None:
        self._said(name, r"(Registered to):")

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:  # a worker whose scheduler is gone looks for it for a while
                process.kill()
                process.wait()

    def _dask(self, name: str, *words: str) -> None:
        state = self.folder / "state"
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                stdout=log,
                stderr=log,
                env={**os.environ, "XDG_STATE_HOME": str(state)},
                cwd=self.folder,
                start_new_session=True,
            )

    def _said(self, name: str, pattern: str) -> str:
        def said() -> str | None:
            match = re.search(pattern, (self.folder / f"{name}.log").read_text())
            return match[1] if match else None

        return eventually(said, f"the {name} says {pattern}")


def eventually(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S:g} s"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        for name in WORKERS:
            made.begin_worker(name)
        for name in WORKERS:
            made.await_worker(name)
        yield made
    finally:
        made.end()


def test_workers_are_there_whenever_one_looks(cluster: Cluster) -> None:
    """The client fetches a summary without them now and then, which must not be taken for what was asked for."""
    assert distributed.config  # what it brings must be there before one key of it is changed
    with (
        dask.config.set({"distributed.client.scheduler-info-interval": "1ms"}),
        contextlib.closing(dask_cluster.connect(cluster.address, DEADLINE_S)) as client,
    ):
        seen = Counter(len(dask_cluster.workers_of(client)) for _ in range(300))
    assert seen == {len(WORKERS): 300}


def jobs_of(*requests: Request) -> list[Job]:
    return [
        Job(CampaignTest(key=f"{number:08x}", cell={}, request=request), 1)
        for number, request in enumerate(requests)
    ]


def seeds(count: int, request: Request = QUICK) -> list[Job]:
    return jobs_of(*(msgspec.structs.replace(request, seed=seed) for seed in range(count)))


def run_all(executor: DaskExecutor, jobs: Sequence[Job]) -> list[Finished]:
    """As a campaign does: start what there is room for, and run again what was lost."""
    left, ended, under_way = list(jobs), [], 0
    deadline = time.monotonic() + DEADLINE_S
    while left or under_way:
        assert time.monotonic() < deadline
        while left and executor.can_start(left[0]):
            executor.start(left.pop(0))
            under_way += 1
        for finished in executor.finished(0.25):
            under_way -= 1
            ended.append(finished)
            if finished.lost:
                left.append(finished.job)
    return ended


def test_every_test_comes_back_once_with_its_run_in_our_store_whichever_worker_ran_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    with DaskExecutor(cluster.address, tmp_path / "ours") as executor:
        ended = run_all(executor, seeds(8))
    assert sorted(finished.job.test.key for finished in ended) == [f"{n:08x}" for n in range(8)]
    assert not any(finished.lost for finished in ended)
    assert {finished.attempt.worker.split()[0] for finished in ended} == set(WORKERS)
    runs = list(Store(tmp_path / "ours").runs())
    assert sorted(str(run) for run in runs) == sorted(run_of(finished) for finished in ended)
    for finished in ended:
        run = Path(run_of(finished))
        assert read_summary(run) == finished.attempt.summary
        assert read_json(run / TEST)["run"] == run.name
        test = read_json(run / TEST)
        assert [name for name in test if str(cluster.folder) in str(test[name])] in ([], ["argv"])
    assert not list(
        cluster.folder.glob("*/*/foreshock-*/store/*/*/test.json")
    )  # nothing stays with the workers


def run_of(finished: Finished) -> str:
    assert finished.attempt.summary is not None, finished.attempt.error
    return finished.attempt.summary.run


def test_a_seed_has_the_same_history_on_a_worker_as_here(cluster: Cluster, tmp_path: Path) -> None:
    with DaskExecutor(cluster.address, tmp_path / "ours") as executor:
        (finished,) = run_all(executor, jobs_of(QUICK))
    here = run_test(resolve(QUICK), Store(tmp_path / "here"), SilentProgress(), report=False).run
    assert (Path(run_of(finished)) / HISTORY).read_bytes() == (here / HISTORY).read_bytes()


def test_a_target_that_is_a_file_goes_along_and_is_called_what_it_is_called_here(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my systems").mkdir()
    source = "from foreshock.targets.naive.targets import NaiveRaft\nclass Mine(NaiveRaft):\n    default_nodes = {}\n"
    file = tmp_path / "my systems" / "mine.py"
    for nodes in (3, 4):  # a file that was changed is another one, on a worker that knows the former, too
        file.write_text(source.format(nodes))
        request = msgspec.structs.replace(QUICK, target="my systems/mine.py:Mine", seed=7)
        with DaskExecutor(cluster.address, tmp_path / "ours", report="all") as executor:
            (finished,) = run_all(executor, jobs_of(request))
        run = Path(run_of(finished))
        assert read_summary(run).target == "my systems/mine.py:Mine"
        assert "--target 'my systems/mine.py:Mine'" in read_summary(run).replay
        plan = read_json(run / TEST)["plan"]
        assert (plan["target"], len(plan["nodes"])) == ("my systems/mine.py:Mine", nodes)
        assert "shipped/" not in (run / "report.html").read_text()


def test_a_valid_run_that_is_not_kept_is_not_sent_and_speaks_of_our_files_all_the_same(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from foreshock.targets.reference.raft_target import Raft\nclass Mine(Raft):\n    pass\n")
    request = msgspec.structs.replace(QUICK, target=f"{file}:Mine")
    with DaskExecutor(cluster.address, tmp_path / "ours", keep="failures") as executor:
        (finished,) = run_all(executor, jobs_of(request))
    summary = finished.attempt.summary
    assert summary is not None, finished.attempt.error
    assert (summary.verdict, summary.run, summary.target) == ("valid", "", f"{file}:Mine")
    assert f"--target {file}:Mine" in summary.replay
    assert not (tmp_path / "ours").exists()


def test_a_run_that_is_too_large_to_send_keeps_its_verdict_and_says_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    with DaskExecutor(cluster.address, tmp_path / "ours", packed_bytes_max=1 << 10) as executor:
        (finished,) = run_all(executor, jobs_of(QUICK))
    summary = finished.attempt.summary
    assert summary is not None
    assert (summary.verdict, summary.exit, summary.run) == ("valid", 3, "")
    assert "packed, that are sent back" in summary.harness_errors[-1]
    assert not finished.lost


def test_interrupted_tests_end_early_the_simulated_at_once_and_the_real_when_they_are_torn_down(
    cluster: Cluster, tmp_path: Path
) -> None:
    with DaskExecutor(cluster.address, tmp_path / "ours") as executor:
        for job in jobs_of(REAL, LONG, LONG):
            assert executor.can_start(job)
            executor.start(job)
        assert executor._choose(simulated=True) != executor.running()[0].worker  # a real test is alone there
        assert not executor.can_start(jobs_of(REAL)[0])
        eventually(
            lambda: not executor.finished(0.1) and executor.running()[0].phase.startswith("running"),
            "the real test is under way",
        )
        executor.interrupt()
        ended: list[Finished] = []
        eventually(lambda: ended.extend(executor.finished(0.1)) or len(ended) == 3, "all have ended")
    by_key = {finished.job.test.key: finished for finished in ended}
    real = by_key.pop(jobs_of(REAL)[0].test.key)
    assert all(finished.lost for finished in by_key.values())
    summary = real.attempt.summary
    assert summary is not None, real.attempt.error
    assert (summary.interrupted, summary.harness_errors, real.lost) == (True, (), False)
    assert summary.duration_s < REAL.time_limit
    assert Path(summary.run).is_dir()


def test_a_campaign_that_is_killed_leaves_no_test_under_way(cluster: Cluster, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tests.harness.campaign.test_dask_executor import LONG, DaskExecutor, seeds\n"
        "executor = DaskExecutor(sys.argv[1], Path(sys.argv[2])).__enter__()\n"
        "for job in seeds(3, LONG): executor.start(job)\n"
        "while not all(one.phase for one in executor.running()): executor.finished(0.1)\n"
        "os._exit(9)\n"
    )
    root = Path(__file__).resolve().parents[3]
    words = [sys.executable, "-c", code, cluster.address, str(tmp_path / "theirs")]
    assert subprocess.run(words, cwd=root, timeout=DEADLINE_S, check=False).returncode == 9
    with DaskExecutor(cluster.address, tmp_path / "ours") as executor:
        ended = run_all(executor, seeds(6))  # which fill every worker
    assert {finished.attempt.worker.split()[0] for finished in ended} == set(WORKERS)
    assert not any(finished.lost for finished in ended)


def test_a_worker_that_is_killed_takes_its_clusters_with_it_and_its_tests_run_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    victim = psutil.Process(cluster.processes["victim"].pid)
    with DaskExecutor(cluster.address, tmp_path / "ours") as executor:
        (real, *quick) = jobs_of(REAL, *(msgspec.structs.replace(QUICK, seed=seed) for seed in range(6)))
        others = executor._workers
        executor._workers = {a: w for a, w in others.items() if a == address_of(cluster, "victim")}
        executor.start(real)
        ended: list[Finished] = []
        eventually(
            lambda: ended.extend(executor.finished(0.1)) or "running" in executor.running()[0].phase,
            "the cluster of the real test is up",
        )
        below = victim.children(recursive=True)
        assert len(below) >= 4  # the test's own process, and its nodes
        victim.kill()
        cluster.processes["victim"].wait()
        ended += run_all_but(executor, quick, ended)
    counts = Counter(finished.job.test.key for finished in ended if not finished.lost)
    lost = [finished for finished in ended if finished.lost]
    assert [finished.job for finished in lost] == [real]
    assert counts == Counter({job.test.key: 1 for job in quick})
    eventually(lambda: not [child for child in below if alive(child)], "nothing of the killed worker runs")
    assert len(list(Store(tmp_path / "ours").runs())) == len(quick)


def run_all_but(executor: DaskExecutor, jobs: Sequence[Job], ended: Sequence[Finished]) -> list[Finished]:
    """Run jobs beside one under way that is lost."""
    left, found = list(jobs), []
    deadline = time.monotonic() + DEADLINE_S
    while left or executor.running():
        assert time.monotonic() < deadline
        while left and executor.can_start(left[0]):
            executor.start(left.pop(0))
        found += executor.finished(0.25)
    return found


def address_of(cluster: Cluster, name: str) -> str:
    return cluster._said(name, r"Start worker at:\s+(tcp://\S+)")


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("workers", "there", "simulated", "real"),
    [
        ({"a1": ("a", 2, None)}, [], "a1", "a1"),
        ({"a1": ("a", 2, None)}, [("a1", True)], "a1", None),
        ({"a1": ("a", 2, None)}, [("a1", True)] * 3, None, None),
        ({"a1": ("a", 2, None)}, [("a1", False)], None, None),
        ({"a1": ("a", 1, None), "a2": ("a", 1, None)}, [("a1", False)], "a2", None),
        ({"a1": ("a", 1, None), "b1": ("b", 1, None)}, [("a1", False)], "b1", "b1"),
        ({"a1": ("a", 4, 2)}, [("a1", False)], "a1", "a1"),
        ({"a1": ("a", 4, 2)}, [("a1", False)] * 2, "a1", None),
        ({"a1": ("a", 4, 0), "b1": ("b", 4, None)}, [("b1", True)], "a1", None),
        ({"a1": ("a", 1, None), "b1": ("b", 4, None)}, [("a1", True), ("b1", True)], "b1", None),
    ],
    ids=[
        "idle", "a simulated test is there", "full, and one ahead", "a real test is alone", "one real test a machine",
        "another machine", "declared room", "declared room is full", "none is declared", "the least load",
    ],
)  # fmt: skip
def test_a_worker_gets_what_it_can_bear(
    workers: dict[str, tuple[str, int, int | None]],
    there: list[tuple[str, bool]],
    simulated: str | None,
    real: str | None,
    tmp_path: Path,
) -> None:
    executor = DaskExecutor("tcp://nowhere:1", tmp_path)
    executor._client = SimpleNamespace(status="running")
    executor._workers = {address: WorkerPlace(*place) for address, place in workers.items()}
    executor._under_way = {
        str(number): _UnderWay(jobs_of(QUICK)[0], address, None, is_simulated, 0.0, {})
        for number, (address, is_simulated) in enumerate(there)
    }
    assert executor._choose(simulated=True) == simulated
    assert executor._choose(simulated=False) == real


def test_another_foreshock_on_the_workers_is_said_before_anything_is_run(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster.foreshock, "__version__", "9.9.9")
    with pytest.raises(
        HarnessError, match=r"has Foreshock .* this machine has 9\.9\.9: the same must be installed"
    ):
        DaskExecutor(cluster.address, tmp_path).__enter__()


def test_other_sources_of_the_same_foreshock_are_told_of(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "own_sources", lambda: "0123456789abcdef")
    told: list[str] = []
    with DaskExecutor(cluster.address, tmp_path, warn=told.append):
        pass
    assert told
    assert all("other sources of it" in sentence for sentence in told)


def test_what_goes_wrong_with_one_test_of_a_worker_holds_up_no_other(tmp_path: Path) -> None:
    side = dask_worker._Side(str(tmp_path))
    listener = SimpleNamespace(abandoned=lambda: False, tell=lambda _: None)
    order = Order(
        token="t", request=QUICK, number=1, report="none", keep="all", files={}, simulated=True, bound_s=DEADLINE_S,
        packed_bytes_max=1 << 20, version="", topic="",
    )  # fmt: skip
    side._say(lambda: side._end(Ended("nobody knows this one", 0.0)))
    try:
        ended = side.run(order, listener)  # type: ignore[arg-type]
        assert ended.lost is None
        assert ended.result.summary.verdict == "valid"
    finally:
        side._say(lambda: side._pools[True].__exit__(None, None, None))


@pytest.mark.parametrize("address", ["rm -rf", "http://host", "tcp://host:port", ""])
def test_what_is_no_address_of_a_scheduler_is_said_at_once(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match="is no address of a scheduler"):
        dask_cluster.connect(address, 30)
    gc.collect()  # what is left of a client waits for itself when it is removed
    assert time.monotonic() - began < 10


def test_no_scheduler_is_one_sentence_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(
        HarnessError, match=r"tcp://127\.0\.0\.1:1 cannot be reached within 1 s .* 'dask scheduler'"
    ):
        DaskExecutor("tcp://127.0.0.1:1", tmp_path, reached_within_s=1).__enter__()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("address", ["gopher://here:70", "tcp://here:port", ""])
def test_an_address_that_is_none_is_wrong_usage(address: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, HarnessError), match=r"give .* such as tcp://host:8786"):
        DaskExecutor(address, tmp_path, reached_within_s=1).__enter__()


def test_a_scheduler_without_workers_and_one_that_goes_away_are_each_one_sentence(tmp_path: Path) -> None:
    alone = Cluster(tmp_path)
    try:
        with pytest.raises(HarnessError, match="has no workers: start some"):
            DaskExecutor(alone.address, tmp_path / "ours", reached_within_s=0.5).__enter__()
        alone.begin_worker("only")
        with DaskExecutor(alone.address, tmp_path / "ours", silent_s=2) as executor:
            executor.start(jobs_of(LONG)[0])
            alone.processes["scheduler"].send_signal(signal.SIGKILL)
            with pytest.raises(
                HarnessError, match="is gone, or has not answered for 2 s: what is done is kept"
            ):
                eventually(lambda: executor.finished(0.1) and False, "it is noticed")
        only = psutil.Process(alone.processes["only"].pid)
        eventually(
            lambda: not only.children(recursive=True), "the worker that has no scheduler ends its test"
        )
    finally:
        alone.end()
