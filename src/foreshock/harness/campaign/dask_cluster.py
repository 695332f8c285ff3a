"""Who is there on a Dask cluster, and whether they can run what is ours."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

import foreshock
from foreshock.harness.campaign.dask_worker import facts, own_sources
from foreshock.harness.errors import HarnessError, UsageError

REAL: Final = "real"
"""The resource of a worker: how many real tests it can bear at once."""
EXTRA: Final = "pip install 'foreshock[dask]'"


class WorkerPlace(msgspec.Struct, frozen=True):
    """A worker as the scheduler knows it; ``real`` is missing where it does not say how many it can bear."""

    host: str
    threads: int
    real: int | None


def connect(address: str, within_s: float) -> Any:
    """A ``distributed.Client``. Raises :class:`UsageError` for an address that is none, or where Dask is missing, and
    :class:`HarnessError` when nobody answers there in time."""
    try:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port
    except ImportError as error:
        raise UsageError(
            f"--scheduler needs Dask distributed, which does not import ({error}): {EXTRA}"
        ) from None
    try:
        client: Any = Client
        get_address_host_port(
            address
        )  # a client that is made with a wrong one waits a minute for nothing at its end
        return client(address, timeout=within_s, set_as_default=False, name="foreshock")
    except (OSError, TimeoutError) as error:
        raise HarnessError(
            f"the scheduler {address} cannot be reached within {within_s:g} s ({_first_line(error)}): start one with "
            "'dask scheduler', and give the address that it says, such as tcp://host:8786"
        ) from None
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"--scheduler {address!r} is no address of a scheduler ({_first_line(error)}): give one such as "
            "tcp://host:8786"
        ) from None


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep Dask from logging a lost connection as tracebacks, where we say a sentence."""
    logs = [logging.getLogger(name) for name in ("distributed", "distributed.client", "distributed.core")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def workers_of(client: Any) -> dict[str, WorkerPlace]:
    """The workers by their address, as the scheduler knows them now; raises what Dask does when it does not answer."""
    # Not scheduler_info(): what that returns the client overwrites now and then with a summary that names no workers.
    found = client.sync(client.scheduler.identity)["workers"]
    return {
        address: WorkerPlace(
            host=str(facts.get("host", address)),
            threads=max(1, int(facts.get("nthreads", 1))),
            real=int(facts["resources"][REAL]) if REAL in facts.get("resources", {}) else None,
        )
        for address, facts in found.items()
    }


def unfit_of(client: Any, workers: Collection[str], warn: Callable[[str], None]) -> dict[str, str]:
    """Why workers can run nothing of ours, by their address."""
    if not workers:
        return {}
    versions = client.get_versions(packages=["foreshock"])["workers"]
    unfit = {}
    for address in workers:
        has = (versions.get(address) or {}).get("packages", {}).get("foreshock")
        if has is None:
            unfit[address] = mended(f"the worker {address} has no Foreshock")
        elif has != foreshock.__version__:
            unfit[address] = mended(f"the worker {address} has Foreshock {has}")
    said: Mapping[str, Any] = client.run(
        facts, workers=[address for address in workers if address not in unfit], on_error="return"
    )
    for address, answer in said.items():
        if isinstance(answer, BaseException):
            unfit[address] = mended(f"the worker {address} has a Foreshock that cannot run tests ({answer})")
        elif answer["sources"] != own_sources():
            warn(
                f"the worker {address} has Foreshock {answer['version']} as this machine has, but other sources of it: "
                "a seed may do there what it does not do here"
            )
    return unfit


def mended(problem: str) -> str:
    """What is wrong with the Foreshock of a worker, and how to mend it."""
    return (
        f"{problem}, and this machine has {foreshock.__version__}: the same must be installed on both, with its extra "
        f"({EXTRA}), and the worker started again"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
