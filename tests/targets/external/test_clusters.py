"""etcd, ZooKeeper and PostgreSQL for real: what they promise holds under faults, and what is known of them is found."""

from __future__ import annotations

import functools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.commands import foreshock, hunt

from foreshock.harness.exhibit import Exhibit
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.external import findings
from foreshock.targets.external.etcd import Etcd
from foreshock.targets.external.postgresql import Postgresql
from foreshock.targets.external.zookeeper import ZooKeeper

AT_ONCE = 3
"""So many tests run side by side: mostly they wait."""
EXHIBITS = (*findings.ETCD_EXHIBITS, *findings.ZOOKEEPER_EXHIBITS, *findings.POSTGRESQL_EXHIBITS)
BY_THE_RESOURCE = ("-o", "workload.fencing=true", "-o", "workload.beliefs=false")


class Kept(NamedTuple):
    """A promise, and faults under which it is tried."""

    target: str
    workload: str
    nemesis: str
    options: tuple[str, ...] = ()


KEPT = (
    Kept("etcd", "register", "partition,kill,pause"),
    Kept("etcd", "lock", "partition,kill,pause,stall", BY_THE_RESOURCE),
    Kept("zookeeper", "register", "partition", ("-o", "read_mode=quorum")),
    Kept("zookeeper", "lock", "partition,pause", BY_THE_RESOURCE),
    Kept("postgresql", "register", "kill,pause"),
    Kept("postgresql", "lock", "kill,pause,stall", BY_THE_RESOURCE),
)


def document_of(store: Path, *words: str) -> dict[str, Any]:
    """What ``foreshock test`` says of a test on processes."""
    command = ["test", "--backend", "process", "--store", str(store), "--json", "--no-report", *words]
    return foreshock(*command).document


def try_promise(store: Path, kept: Kept) -> dict[str, Any]:
    words = ["--target", kept.target, "--workload", kept.workload, "--nemesis", kept.nemesis, *kept.options]
    faults = ("--interval", "1.5", "--quiet-windows", "0-2")  # something is to be done before they come
    return document_of(store, *words, *faults, "--time-limit", "6", "--operation-timeout-ms", "1500")


WANTED = {
    "etcd/stalled-client": ("guarded-resource", "fencing"),
    "etcd/serializable-reads": ("linearizable",),
    "zookeeper/local-reads": ("linearizable",),
    "zookeeper/lost-session": ("mutex",),
    "postgresql/killed-server": ("mutex",),
    "postgresql/asynchronous-commit": ("linearizable",),
}
"""The checkers that may convict, by exhibit: whoever else does has found something else, and the hunt goes on."""


def convicted(store: Path, exhibit: Exhibit) -> dict[str, Any]:
    """A test of an exhibit that is invalid for the reason that is looked for."""
    return hunt(
        lambda seed: document_of(store, *exhibit.request.arguments("process", seed)), *WANTED[exhibit.name]
    )


@pytest.mark.slow
def test_what_is_promised_holds_under_faults(tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        documents = list(threads.map(functools.partial(try_promise, tmp_path), KEPT))
    for kept, document in zip(KEPT, documents, strict=True):
        assert (document["verdict"], document["harness_errors"]) == ("valid", []), (kept, document["reason"])
        assert document["operations"]["ok"] > 10, kept
        assert sum(document["faults"].values()) > 0, kept


@pytest.mark.slow
def test_what_is_known_to_be_wrong_is_found(tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        documents = list(threads.map(functools.partial(convicted, tmp_path), EXHIBITS))
    assert [document["verdict"] for document in documents] == ["invalid"] * len(EXHIBITS)


@pytest.mark.parametrize(
    ("target", "package"), [("etcd", "etcd-server"), ("zookeeper", "libzookeeper-java default-jre-headless")]
)
def test_who_lacks_a_program_is_told_of_the_package(target: str, package: str, tmp_path: Path) -> None:
    words = ("test", "--target", target, "--backend", "process", "--store", str(tmp_path))
    done = foreshock(*words, environment={"PATH": str(tmp_path)})
    assert done.code == 4
    assert f"apt-get install {package}" in done.err


@pytest.mark.parametrize("program", ["etcd", "java", "/usr/lib/postgresql/*/bin/initdb"])
def test_what_these_tests_need_is_installed(program: str) -> None:
    """Where everything must run, a missing program is an error and not a skip."""
    here = shutil.which(program) is not None or any(Path("/").glob(program.lstrip("/")))
    if not here:
        pytest.skip(f"{program} is not installed")


@pytest.mark.docker
def test_the_same_in_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = {"etcd": Etcd, "zookeeper": ZooKeeper, "postgresql": Postgresql}
    every = sorted({package for target in targets.values() for package in target.packages})
    for name, target in targets.items():
        monkeypatch.setattr(target, "packages", every)  # one image for all of them
        nemesis = "kill,pause" if name == "postgresql" else "partition,kill,pause"
        request = Request(
            target=name,
            workload="register",
            nemesis=nemesis,
            backend="docker",
            time_limit=4,
            interval=1,
            seed=1,
            operation_timeout_ms=1000,
            ready_timeout=300,
        )
        judgement = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement
        # ZooKeeper's reads are local by default, and may be stale.
        assert judgement.verdict in ({"valid", "invalid"} if name == "zookeeper" else {"valid"}), (
            judgement.reason
        )
        assert judgement.harness_errors == ()
        assert judgement.operations["ok"] > 20
