"""Reaching the engine: what is said when it cannot be, and what is cached by content. Needs no engine."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException
from relay_target import Run

from foreshock.harness.backends.docker import DockerBackend, engine, images
from foreshock.harness.backends.docker.engine import EngineCalls
from foreshock.harness.errors import DeployError
from foreshock.harness.runtime import Runtime


def test_no_engine_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert DockerBackend().available() == (
        f"no Docker engine answers at unix://{tmp_path}/none.sock (No such file or directory): "
        "start one (sudo systemctl start docker), point DOCKER_HOST to one, or use --backend process."
    )


def test_a_socket_without_an_engine_behind_it_is_said_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/dead.sock")
    assert "(Connection refused): start one" in str(DockerBackend().available())


def test_permission_denied_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        try:
            raise PermissionError(13, "Permission denied")
        except PermissionError as error:
            raise DockerException("Error while fetching server API version") from error

    monkeypatch.setattr(docker, "APIClient", refuse)
    reason = engine.reason_not_available()
    assert reason is not None
    assert reason.startswith("permission is denied on the Docker engine's socket")
    assert "usermod -aG docker" in reason


def test_a_machine_without_registry_and_mmdebstrap_is_told_how_to_get_a_base(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bare:
        def images(self, **_: Any) -> list[str]:
            return []

        def inspect_image(self, _: str) -> None:
            raise docker.errors.ImageNotFound("none")

    monkeypatch.setattr(images, "registry_answers", lambda _: False)
    monkeypatch.setattr(images.shutil, "which", lambda _: None)
    client: Any = Bare()
    assert "sudo apt install mmdebstrap" in str(images.reason_no_image(client))
    with pytest.raises(DeployError, match="mmdebstrap is not installed"):
        images.ImageBuilder(client, threading.Event()).ensure(())
    monkeypatch.setenv(images.BASE_VARIABLE, "mine:1")
    with pytest.raises(
        DeployError, match="'mine:1' of FORESHOCK_BASE_IMAGE is neither here nor in a registry"
    ):
        images.ImageBuilder(client, threading.Event()).ensure(())


def test_an_images_tag_depends_on_all_that_goes_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = images.image_tag("base:1", ())
    assert plain == images.image_tag("base:1", ())
    assert images.image_tag("base:1", ("b", "a")) == images.image_tag("base:1", ("a", "b", "a"))
    real = images._file
    others = {images.image_tag("base:2", ()), images.image_tag("base:1", ("a",))}
    for name in ("Dockerfile", "pod_init.py"):
        monkeypatch.setattr(images, "_file", lambda n, name=name: real(n) + (b"#" if n == name else b""))
        others.add(images.image_tag("base:1", ()))
    assert len(others | {plain}) == 5


def test_a_call_that_was_given_up_is_waited_for_and_one_that_never_began_is_not_run(run: Run) -> None:
    release, began, ran = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        release.wait(10)
        ran.set()

    async def main(runtime: Runtime) -> None:
        calls = EngineCalls()
        task = asyncio.ensure_future(calls.call(slow))
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await calls.all_ended(0.05) is False
        release.set()
        assert await calls.all_ended(10) is True
        assert ran.is_set()
        assert await calls.call(lambda: 7) == 7
        with pytest.raises(KeyError):
            await calls.call(lambda: {}["absent"])
        calls.close()
        assert await calls.call(lambda: 8) == 8
        calls.close()

    run(main)
