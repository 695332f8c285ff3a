"""The shim that shows a program its clocks, and what reads them under it: in C, compiled where they are to run."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from foreshock.harness.errors import DeployError, HarnessError
from foreshock.harness.host import Host
from foreshock.harness.live_runs import ensure_directory, state_directory

SHIM: Final = "clock_shim"
READER: Final = "clock_reader"
SOURCES: Final = (f"{SHIM}.c", f"{READER}.c")
COMPILERS: Final = ("cc", "gcc", "clang")
_TIMEOUT_S: Final = 120


class ClockTools(NamedTuple):
    """Where the two are, as paths on a host."""

    shim: str
    reader: str

    @classmethod
    def inside(cls, folder: str) -> ClockTools:
        """The two in a folder, by their usual names."""
        return cls(f"{folder}/{SHIM}.so", f"{folder}/{READER}")


def source(name: str) -> bytes:
    """One of the :data:`SOURCES`."""
    return (resources.files("foreshock.harness.backends.on_hosts") / name).read_bytes()


def compile_script(compiler: str, folder: str) -> str:
    """A shell script that compiles the sources in a folder into it."""
    cc, into = shlex.quote(compiler), shlex.quote(folder)
    shim = f"{cc} -O2 -fPIC -shared -o {into}/{SHIM}.so {into}/{SHIM}.c -ldl -pthread"
    return f"{shim} && {cc} -O2 -o {into}/{READER} {into}/{READER}.c"


def reason_not_here() -> str | None:
    """``None`` where this machine can skew the clocks of a program that does not help with it, else a sentence."""
    if not sys.platform.startswith("linux"):
        return "the clocks of this target's nodes can be skewed on Linux alone: use --backend docker"
    if _compiler() is None and not _compiled_here().is_dir():
        return (
            "the clocks of this target's nodes are skewed by a library that must be compiled first, and there is no C "
            "compiler here: install one (sudo apt install gcc libc6-dev), or use --backend docker"
        )
    return None


def tools_here() -> ClockTools:
    """The two on this machine; compiled once, and found again by what they were compiled from.

    Blocks; raises ``DeployError`` with one sentence.
    """
    folder = _compiled_here()
    if not folder.is_dir():
        compiler = _compiler()
        if compiler is None:
            raise DeployError(reason_not_here() or "there is no C compiler here")
        scratch = Path(tempfile.mkdtemp(dir=ensure_directory(folder.parent)))
        try:
            _compile(compiler, scratch)
            _keep(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return ClockTools.inside(str(folder))


async def tools_on(host: Host, folder: str) -> ClockTools:
    """The two in a folder of a host: compiled there, or here where it has no compiler. Raises ``DeployError``.

    What was compiled here is tried there before it is relied upon.
    """
    tools = ClockTools.inside(folder)
    for name in SOURCES:
        await host.upload(source(name), f"{folder}/{name}")
    wanted = " || ".join(f"command -v {name}" for name in COMPILERS)
    found = (await host.run(wanted)).stdout.split()
    if found:
        done = await host.run(compile_script(found[0], folder), timeout_ms=_TIMEOUT_S * 1000)
        if done.exit_code == 0:
            return tools
    for content, remote in zip(await asyncio.to_thread(_read_tools_here), tools, strict=True):
        await host.upload(content, remote, mode=0o755)
    tried = await host.run(f"LD_PRELOAD={shlex.quote(tools.shim)} {shlex.quote(tools.reader)}")
    if tried.exit_code or tried.stderr:
        raise DeployError(
            f"the library that skews clocks does not run on the host of node {host.name}, and cannot be compiled "
            f"there: install gcc and libc6-dev on it ({tried.stderr.strip() or tried.exit_code!r:.200})"
        )
    return tools


def _read_tools_here() -> list[bytes]:
    return [Path(each).read_bytes() for each in tools_here()]


def _compiler() -> str | None:
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def _compiled_here() -> Path:
    made_from = [platform.machine().encode(), *(source(name) for name in SOURCES)]
    return state_directory() / "clock" / hashlib.sha256(b"\0".join(made_from)).hexdigest()[:16]


def _compile(compiler: str, folder: Path) -> None:
    for name in SOURCES:
        (folder / name).write_bytes(source(name))
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", compile_script(compiler, str(folder))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeployError(f"{compiler} did not compile the clock shim within {_TIMEOUT_S} s") from None
    if done.returncode:
        telling = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[
            -1:
        ]
        raise DeployError(f"the clock shim cannot be compiled by {compiler}: {' '.join(telling[:1])}")


def _keep(scratch: Path, folder: Path) -> None:
    """Put what was compiled in its place; another harness may have done so meanwhile, with the same."""
    scratch.chmod(0o755)
    try:
        scratch.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise HarnessError(f"the clock shim cannot be kept in {folder}: {error.strerror}") from error
