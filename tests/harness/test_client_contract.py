"""A client is told what it lacks, and how to write it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from foreshock.harness.client_contract import check_client
from foreshock.harness.errors import PlugInError
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.services import RegisterClient


class Blocking:
    """Plain methods are as good as coroutines, and may take more than they are given."""

    service: ClassVar[str] = "register"

    def open(self) -> None: ...

    def close(self, *, quickly: bool = True) -> None: ...

    def read(self, key: Any, consistency: str = "strong") -> Any: ...

    @staticmethod
    def write(key: Any, value: Any) -> None: ...

    def cas(self, *arguments: Any) -> None: ...


class OnlyReads(Blocking):
    write = None  # type: ignore[assignment]

    def cas(self, key: Any, new: Any) -> None: ...


class Inherits(RegisterClient):
    """What it inherits from the protocol has no body: it would answer ``None``, and that would count as ok."""

    service: ClassVar[str] = "register"

    async def read(self, key: Any) -> Any: ...

    async def cas(self, key: Any, old: Any, new: Any) -> None: ...


def test_every_client_of_ours_keeps_the_contract() -> None:
    for name in names(Kind.TARGETS):
        for service, client in load(Kind.TARGETS, name).services.items():
            check_client(client, service)


def test_blocking_methods_with_more_parameters_serve() -> None:
    check_client(Blocking, "register")


def test_a_missing_method_and_one_with_too_few_parameters_are_named_with_the_mend() -> None:
    with pytest.raises(PlugInError) as caught:
        check_client(OnlyReads, "register")
    assert str(caught.value) == (
        "the client 'OnlyReads' does not serve 'register': it has no method 'write' (write: async def "
        "write(self, key: Key, value: Value) -> None); it has a method 'cas' that takes (key, new) (write: async "
        "def cas(self, key: Key, old: Value | None, new: Value) -> None); what the system cannot do raises Definite"
    )


def test_a_method_that_only_the_protocol_has_is_missing() -> None:
    with pytest.raises(PlugInError, match="it has no method 'write'") as caught:
        check_client(Inherits, "register")
    assert "'open'" not in str(caught.value)


def test_a_service_that_only_a_plug_in_knows_asks_for_open_and_close() -> None:
    check_client(Blocking, "queue")
    with pytest.raises(PlugInError, match="it has no method 'open'"):
        check_client(object, "queue")
