"""The image of pods and nodes: built from our Dockerfile on a base, and found again by what went into it.

The base is a registry's Python image where a registry answers, else one that ``mmdebstrap`` makes here. The image's
tag is a hash of the base's name, the Dockerfile, the pod's program and the packages: the same ingredients are never
built twice, and a changed one is never missed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from platform import machine
from typing import Any, Final

import docker
import requests
from docker.errors import DockerException, ImageNotFound

from foreshock.harness.backends.docker.engine import connect, explained
from foreshock.harness.backends.mounts import unmount_below
from foreshock.harness.backends.on_hosts import clock_tools
from foreshock.harness.backends.process_identity import NODE_VARIABLE, end_processes_of_run
from foreshock.harness.errors import DeployError
from foreshock.harness.live_runs import ensure_directory, state_directory

_log = logging.getLogger("foreshock.docker")

REGISTRY_BASE: Final = "python:3.11-slim-bookworm"
BASE_VARIABLE: Final = "FORESHOCK_BASE_IMAGE"
"""Environment variable that names another base: any Debian-like image with python3."""

REPOSITORY: Final = "foreshock-node"
BASE_REPOSITORY: Final = "foreshock-base"
_SUITE: Final = "bookworm"
_BASE_PACKAGES: Final = ("python3", "iptables", "iproute2", "procps")
_LEFT_OUT: Final = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_REGISTRY_TIMEOUT_S: Final = 5
_BUILD_TIMEOUT_S: Final = 900
_LAST_LINES: Final = 12
_FILES: Final = ("Dockerfile", "pod_init.py")
_COMPILED: Final = "/clock"
CLOCK_FOLDER: Final = "/foreshock/clock"
"""Where an image has the shim and its reader."""


class ImageBuilder:
    """Finds or builds images; blocking, so call it in a thread. ``cancelled`` ends whatever it does."""

    def __init__(self, client: docker.APIClient, cancelled: threading.Event) -> None:
        self._client = client
        self._cancelled = cancelled

    def ensure(self, packages: Sequence[str]) -> str:
        """The tag of an image that has the packages; raises ``DeployError`` with one sentence."""
        found = self._find(packages)
        if found is not None:
            return found
        with _one_builder():
            found = self._find(packages)
            return found if found is not None else self._build(self._base(), packages)

    def _find(self, packages: Sequence[str]) -> str | None:
        for base in _bases():
            tag = image_tag(base, packages)
            if self._exists(tag):
                return tag
        return None

    def _exists(self, image: str) -> bool:
        with explained(f"the image {image} cannot be looked up", DeployError):
            try:
                untyped: Any = self._client
                untyped.inspect_image(image)
            except ImageNotFound:
                return False
        return True

    def _base(self) -> str:
        """A base that is here, can be pulled, or can be made."""
        named = os.environ.get(BASE_VARIABLE)
        registry = named or REGISTRY_BASE
        if self._exists(registry):
            return registry
        if registry_answers(registry):
            _log.info("pulling the base image %s", registry)
            with explained(f"the base image {registry} cannot be pulled", DeployError):
                repository, _, tag = registry.rpartition(":")
                self._client.pull(repository or registry, tag=tag if repository else "latest")
            return registry
        if named:
            raise DeployError(
                f"the base image {named!r} of {BASE_VARIABLE} is neither here nor in a registry"
            )
        made = made_base()
        if not self._exists(made):
            self._make_base(made)
        return made

    def _make_base(self, tag: str) -> None:
        if shutil.which("mmdebstrap") is None:
            raise DeployError(_NO_BASE)
        _log.info("making the base image %s with mmdebstrap (once; it takes a minute)", tag)
        clean_unfinished()
        with tempfile.TemporaryDirectory(dir=ensure_directory(_scratch())) as folder:
            archive = Path(folder) / "base.tar"
            self._run_mmdebstrap(archive, Path(folder) / "mmdebstrap.log")
            repository, _, version = tag.partition(":")
            with explained("the base image cannot be imported", DeployError):
                self._client.import_image(
                    src=str(archive), repository=repository, tag=version, changes=['CMD ["python3"]']
                )

    def _run_mmdebstrap(self, archive: Path, output: Path) -> None:
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
        include = f"--include={','.join(_BASE_PACKAGES)}"
        command = ["mmdebstrap", "--variant=minbase", include, *options, _SUITE, str(archive)]
        with output.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(archive.parent), NODE_VARIABLE: _builders()},
            )
        waited_s = 0.0
        while process.poll() is None:
            if self._cancelled.wait(0.1) or waited_s > _BUILD_TIMEOUT_S:
                os.killpg(process.pid, signal.SIGTERM)  # it unmounts and removes its own scratch
                process.wait()
                raise DeployError("making the base image was given up")
            waited_s += 0.1
        if process.returncode:
            raise _failure(
                "the base image could not be made by mmdebstrap", output.read_text(errors="replace")
            )

    def ensure_with_clock(self, packages: Sequence[str]) -> str:
        """As :meth:`ensure`, with what skews the clocks of a node that does not help with it, in ``CLOCK_FOLDER``."""
        node = self.ensure(packages)
        sources = {name: clock_tools.source(name) for name in clock_tools.SOURCES}
        tag = tag_of((node, *(text.decode() for text in sources.values())))
        if not self._exists(tag):
            plain = self.ensure(())
            with _one_builder():
                if not self._exists(tag) and not self._copy_clock(tag, node):
                    context = {**sources, "Dockerfile": _file("clock.Dockerfile")}
                    arguments = {
                        "PLAIN": plain,
                        "NODE": node,
                        "COMPILE": clock_tools.compile_script("cc", _COMPILED),
                    }
                    self._run_build(tag, "the image whose nodes' clocks can be skewed", context, arguments)
        return tag

    def _copy_clock(self, tag: str, node: str) -> bool:
        """Try what this machine's compiler makes, in seconds; false where it has none or that does not run there."""
        if clock_tools.reason_not_here() is not None or self._client.info()["Architecture"] != machine():
            return False
        context = {Path(path).name: Path(path).read_bytes() for path in clock_tools.tools_here()}
        context["Dockerfile"] = _file("compiled_clock.Dockerfile")
        what = "the image with the clock shim of this machine"
        try:
            self._run_build(tag, what, context, {"NODE": node})
        except DeployError as error:
            _log.info("%s; it will be compiled there", error)
            return False
        return True

    def _build(self, base: str, packages: Sequence[str]) -> str:
        tag = image_tag(base, packages)
        what = "the image" + (f" with {', '.join(packages)}" if packages else "")
        arguments = {"BASE": base, "PACKAGES": " ".join(packages)}
        self._run_build(tag, what, {name: _file(name) for name in _FILES}, arguments)
        return tag

    def _run_build(
        self, tag: str, what: str, context: Mapping[str, bytes], arguments: Mapping[str, str]
    ) -> None:
        _log.info("building %s as %s (%s)", what, tag, ", ".join(filter(None, arguments.values())))
        output: list[str] = []
        with explained(f"{what} could not be built", DeployError):
            answer = self._client.build(
                fileobj=_archive(context),
                custom_context=True,
                tag=tag,
                buildargs=dict(arguments),
                labels={"foreshock": "1"},
                rm=True,
                forcerm=True,
                decode=True,
                timeout=_BUILD_TIMEOUT_S,
            )
            for event in answer:
                if self._cancelled.is_set():
                    raise DeployError(f"building {what} was given up")
                self._note(event, output)
                if "error" in event:
                    raise _failure(f"{what} could not be built", f"{''.join(output)}\n{event['error']}")

    @staticmethod
    def _note(event: dict[str, Any], output: list[str]) -> None:
        # The engine sends pieces of lines, and colours what came from stderr.
        text = _COLOURS.sub("", str(event.get("stream", "")))
        output.append(text)
        if text.strip():
            _log.debug("build: %s", text.strip())


_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_NO_BASE: Final = (
    "there is no base image: no registry answers and mmdebstrap is not installed: install it "
    f"(sudo apt install mmdebstrap), or name an image that has python3 in {BASE_VARIABLE}."
)


def reason_no_image(client: docker.APIClient) -> str | None:
    """``None`` when images can be had here (they are built, or can be), else one sentence."""
    with explained("the engine's images cannot be listed"):
        if client.images(filters={"reference": f"{REPOSITORY}:*"}) or client.images(name=REGISTRY_BASE):
            return None
    if os.environ.get(BASE_VARIABLE) or shutil.which("mmdebstrap") or registry_answers(REGISTRY_BASE):
        return None
    return _NO_BASE


def registry_answers(image: str) -> bool:
    """Whether the engine finds the image in its registry within a few seconds."""
    with closing(connect(_REGISTRY_TIMEOUT_S)) as client:
        untyped: Any = client
        try:
            untyped.inspect_distribution(image)
        except (DockerException, requests.RequestException) as error:
            _log.debug("no registry answers for %s: %s", image, error)
            return False
    return True


def made_base() -> str:
    """The tag of the base that mmdebstrap makes, by its recipe."""
    recipe = "\n".join([_SUITE, *_BASE_PACKAGES, *_LEFT_OUT])
    return f"{BASE_REPOSITORY}:{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


def image_tag(base: str, packages: Sequence[str]) -> str:
    """The tag of the image with the packages on a base, by content."""
    return tag_of((base, " ".join(sorted(set(packages))), *(_file(name).decode() for name in _FILES)))


def tag_of(ingredients: Sequence[str]) -> str:
    """The tag of an image that is made of these, and of nothing else."""
    digest = hashlib.sha256()
    for part in ingredients:
        digest.update(part.encode() + b"\0")
    return f"{REPOSITORY}:{digest.hexdigest()[:16]}"


def _bases() -> tuple[str, ...]:
    named = os.environ.get(BASE_VARIABLE)
    return (named,) if named else (REGISTRY_BASE, made_base())


def _file(name: str) -> bytes:
    return (resources.files("foreshock.harness.backends.docker") / name).read_bytes()


def _archive(context: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in context.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def _failure(what: str, output: str) -> DeployError:
    """The error in one sentence, with its reason; the end of the output goes to the log."""
    lines = [line for line in output.splitlines() if line.strip()]
    _log.error("%s; its output ends:\n%s", what, "\n".join(lines[-_LAST_LINES:]))
    telling = [line for line in lines if line.startswith(("E:", "error:", "Error"))]
    reason = (telling or lines or ["it said nothing"])[-1].strip()
    return DeployError(f"{what}: {reason} (the last lines of the output are in harness.log)")


@contextmanager
def _one_builder() -> Iterator[None]:
    """Two harnesses that need the same image build it once: the second waits for the first."""
    with _lock().open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock() -> Path:
    return ensure_directory(state_directory()) / "images.lock"


def _scratch() -> Path:
    """Where base images are made, by one at a time."""
    return state_directory() / "images"


def _builders() -> str:
    """What the processes that make a base image carry in their environment, in place of a run."""
    return f"base image in {_scratch()}"


def clean_abandoned() -> list[str]:
    """End what makes a base image for a harness that is gone, and remove it; says so. One under way is left alone."""
    if not _scratch().exists():
        return []
    with _lock().open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        return clean_unfinished()


def clean_unfinished() -> list[str]:
    """As :func:`clean_abandoned`, for whoever has the lock; raises ``HarnessError``."""
    scratch = _scratch()
    if not scratch.exists():
        return []
    end_processes_of_run(_builders(), signal.SIGTERM)  # it unmounts and removes its own scratch
    end_processes_of_run(_builders())
    unmount_below(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    return ["removed a base image that was being made"]
