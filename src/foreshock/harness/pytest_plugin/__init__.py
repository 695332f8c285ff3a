"""The plug-in by which pytest runs chaos tests: the fixture ``foreshock``, the marker of the same name, its options.

::

    def test_locks_exclude_each_other(foreshock):
        foreshock.test(target="./mydb.py:MyDB", workload="lock", nemesis="partition,kill", time_limit=20)

Every run of pytest where Foreshock is installed imports this module, so it imports nothing but pytest: the harness is
imported by the first test that asks for the fixture.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from foreshock.harness.pytest_plugin.fixture import Foreshock

MARKER: Final = "foreshock"
SEED_BOUND: Final = 1 << 31
SEEDS_MAX: Final = 1_000
"""Of one test; and how far apart the seeds of the tests that one function runs one after the other are."""
_KEEP: Final = ("failed", "all")
_RETENTION_COUNT: Final = 50
_BASE_SEED: Final = pytest.StashKey[int]()
_SESSION_PID: Final = pytest.StashKey[int]()
_STORE: Final = pytest.StashKey[Path]()
"""The folder of runs, in a process that made one."""
_REPORTS: Final = pytest.StashKey[dict[str, pytest.TestReport]]()
_INI: Final = {
    "foreshock_backend": "Where the nodes of chaos tests live, where a test does not say: auto, sim, process, docker.",
    "foreshock_store": "Folder that keeps the runs of chaos tests, from the root folder (default: .foreshock).",
    "foreshock_keep": "Which runs stay in the store: failed (default), or all.",
    "foreshock_time_limit": "Seconds of the main phase, where a test does not say.",
    "foreshock_retention_count": "How many runs of pytest stay in the store when later ones come "
    f"(default: {_RETENTION_COUNT}).",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line, and of the configuration file."""
    group = parser.getgroup("foreshock", "chaos tests of distributed systems")
    group.addoption(
        "--foreshock-backend",
        metavar="NAME",
        help="run every chaos test there, whatever it says: sim, process, docker, ssh, auto",
    )
    group.addoption(
        "--foreshock-seed",
        type=_seed,
        metavar="N",
        help="the seed of chaos tests that name none (default: a new one for each run of pytest, told by a failure)",
    )
    group.addoption(
        "--foreshock-time-limit",
        type=float,
        metavar="S",
        help="seconds of the main phase of every chaos test, whatever it says",
    )
    group.addoption("--foreshock-store", metavar="DIR", help="folder that keeps the runs of chaos tests")
    group.addoption(
        "--foreshock-keep",
        choices=_KEEP,
        help="which runs stay in the store when their test has ended",
    )
    group.addoption(
        "--foreshock-require",
        action="store_true",
        help="fail, rather than skip, a chaos test for which this machine lacks an engine or a program",
    )
    for name, text in _INI.items():
        parser.addini(name, text, default=None)
    parser.addini("foreshock_require", "As --foreshock-require.", type="bool", default=False)


def _seed(text: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise argparse.ArgumentTypeError(f"{text!r:.100} is no seed: give a whole number from 0")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and settle the seed: every worker of pytest-xdist gets that of the controller."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(seeds=1, **settings): settings of the chaos tests that the function runs, as foreshock.test() takes "
        "them; seeds: how often, each time with another seed, or a list of seeds",
    )
    keep = config.getini("foreshock_keep")
    if keep and keep not in _KEEP:
        raise pytest.UsageError(f"foreshock_keep = {keep!r:.100}: give {' or '.join(_KEEP)}")
    count = config.getini("foreshock_retention_count")
    if count and not (count.isdecimal() and count.isascii()):
        raise pytest.UsageError(f"foreshock_retention_count = {count!r:.100}: give a whole number from 0")
    from_controller = getattr(config, "workerinput", {})
    config.stash[_SESSION_PID] = from_controller.get("foreshock_session_pid", os.getpid())
    given = config.getoption("--foreshock-seed")
    shared = from_controller.get("foreshock_seed")
    drawn = random.SystemRandom().randrange(SEED_BOUND) if given is None and shared is None else 0
    config.stash[_BASE_SEED] = next(seed for seed in (given, shared, drawn) if seed is not None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist the seed, and whose session it is."""
    node.workerinput["foreshock_seed"] = node.config.stash[_BASE_SEED]
    node.workerinput["foreshock_session_pid"] = node.config.stash[_SESSION_PID]


@pytest.hookimpl(trylast=True)  # Ctrl-C ends fixtures only in this hook
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the oldest runs, where this process has added any."""
    root = session.config.stash.get(_STORE, None)
    if root is not None:
        from foreshock.harness.pytest_plugin.retention import remove_oldest

        remove_oldest(root, int(session.config.getini("foreshock_retention_count") or _RETENTION_COUNT))


def pytest_report_header(config: pytest.Config) -> str | None:
    """The seed, where somebody asked for it or asked to be told more."""
    if config.getoption("--foreshock-seed") is None and config.get_verbosity() < 1:
        return None
    return f"foreshock: seed {config.stash[_BASE_SEED]}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Several tests of one function, where its marker asks for several seeds."""
    seeds = _seeds_asked_for(metafunc.definition)
    if "foreshock" not in metafunc.fixturenames:
        _tell_of_idle_marker(metafunc)
        return
    if seeds is None:
        return
    if type(seeds) is int and 1 <= seeds <= SEEDS_MAX:
        chosen: list[tuple[str, int]] = [("next", number) for number in range(seeds)]
        names = [f"seed{number}" for number in range(seeds)]
    elif isinstance(seeds, list | tuple) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds):
        chosen = [("this", seed) for seed in seeds]
        names = [f"seed={seed}" for seed in seeds]
    else:
        pytest.fail(
            f"{metafunc.definition.nodeid}: seeds={seeds!r:.200} is no choice of seeds: give how many (1 to "
            f"{SEEDS_MAX}), or a list of them",
            pytrace=False,
        )
    metafunc.parametrize("foreshock", chosen, indirect=True, ids=names)


def _seeds_asked_for(node: pytest.Item) -> Any:
    """What the nearest marker with ``seeds`` says; ``None`` where there is none."""
    return next(
        (marker.kwargs["seeds"] for marker in node.iter_markers(MARKER) if "seeds" in marker.kwargs), None
    )


def _tell_of_idle_marker(metafunc: pytest.Metafunc) -> None:
    """A marker of a function that runs no chaos test does nothing, and looks as if it did.

    One of a class or a module may be meant for some of its tests; and one that takes ``request`` may ask by that.
    """
    own = [marker for marker in metafunc.definition.own_markers if marker.name == MARKER]
    name = metafunc.definition.nodeid
    if any("seeds" in marker.kwargs for marker in own):
        pytest.fail(
            f"{name}: its marker asks for seeds, but it does not take the fixture 'foreshock'", pytrace=False
        )
    if own and "request" not in metafunc.fixturenames:
        warnings.warn(
            pytest.PytestWarning(
                f"{name}: its marker foreshock does nothing, for it does not take the fixture 'foreshock'"
            ),
            stacklevel=1,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the fixture see, at its end, how its test went. Of tests that do not take it nothing is kept."""
    report = yield
    if _REPORTS in item.stash:
        item.stash[_REPORTS][str(report.when)] = report
    return report


@pytest.fixture
def foreshock(request: pytest.FixtureRequest) -> Iterator[Foreshock]:
    """Chaos tests: ``foreshock.test(target=..., workload=..., nemesis=...)`` runs one, and fails unless it is valid."""
    from foreshock.harness.pytest_plugin.fixture import Foreshock

    if not hasattr(request, "param") and _seeds_asked_for(request.node) is not None:
        pytest.fail(
            "its marker asks for seeds, which pytest cannot give to a method of unittest.TestCase, nor to a test that "
            "asks for the fixture through request: write a function, or a plain class, that takes 'foreshock'",
            pytrace=False,
        )
    kind, number = getattr(request, "param", ("next", 0))
    seeds = _Remembered(request)
    base = seeds.base_seed()
    tests = Foreshock(
        request,
        first_seed=number if kind == "this" else base + number,
        base_seed=base,
        session_pid=request.config.stash[_SESSION_PID],
    )
    request.node.stash[_REPORTS] = {}
    yield tests
    call = request.node.stash[_REPORTS].get("call")
    del request.node.stash[_REPORTS]
    failed = call is None or call.failed
    if tests.store is not None:
        request.config.stash[_STORE] = tests.store.root
    tests.close(failed=failed)
    if kind == "next":
        # Last, for where the cache cannot be written that is a warning, and some make errors of those.
        seeds.remember(base if failed else None)


class _Remembered:
    """The seed with which a test failed when it was run last, in pytest's cache: it is run with that until it passes.

    Else ``--lf`` would choose the test and not the failure.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._config = request.config
        self._cache = getattr(request.config, "cache", None)  # which -p no:cacheprovider takes away
        name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
        # One file each, for several processes write them under pytest-xdist.
        self._key = f"foreshock/seeds/{name}"

    def base_seed(self) -> int:
        """The seed to count from."""
        if self._cache is not None and self._config.getoption("--foreshock-seed") is None:
            known = self._cache.get(self._key, None)
            if type(known) is int and known >= 0:
                return known
        return self._config.stash[_BASE_SEED]

    def remember(self, seed: int | None) -> None:
        """Keep the seed of a failure; ``None`` forgets it."""
        if self._cache is not None and self._cache.get(self._key, None) != seed:
            self._cache.set(self._key, seed)
