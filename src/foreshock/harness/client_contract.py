"""Whether a client offers what its service needs, said before anything is deployed."""

from __future__ import annotations

import inspect
from typing import Any

from foreshock.harness.errors import PlugInError
from foreshock.harness.services import SERVICES, Client


def check_client(client: type[Any], service: str, *, made_of_context: bool = False) -> None:
    """Raise :class:`PlugInError` naming every method that the client class lacks, and how to write it.

    Services that the harness does not know (a plug-in's own) ask for ``open`` and ``close`` alone. With
    ``made_of_context`` it must also be possible to make one of its context alone, as ``Target.client`` does.
    """
    protocol = SERVICES.get(service, Client)
    problems = []
    for name in _methods(protocol):
        wanted = getattr(protocol, name)
        found = getattr(client, name, None)
        # Inherited from the protocol it has no body: it would answer None, and that would count as ok.
        missing = found is None or (found is wanted and name not in ("open", "close"))
        if missing or not callable(found):
            problems.append(f"has no method {name!r}")
        elif not _takes(client, name, wanted):
            problems.append(f"has a method {name!r} that takes {_parameters(found)}")
        else:
            continue
        problems[-1] += f" (write: async def {name}{_signature(wanted)})"
    if problems:
        raise PlugInError(
            f"the client {client.__qualname__!r} does not serve {service!r}: it {'; it '.join(problems)}; "
            "what the system cannot do raises Definite"
        )
    if made_of_context:
        _check_made(client, service)


def _check_made(client: type[Any], service: str) -> None:
    try:
        inspect.signature(client).bind("context")
    except TypeError:
        takes = ", ".join(inspect.signature(client).parameters)
        raise PlugInError(
            f"the client {client.__qualname__!r} of the service {service!r}: __init__ takes ({takes}), and is called "
            "with (context): write def __init__(self, context: ClientContext) -> None"
        ) from None
    except ValueError:
        return  # a constructor without a signature: only calling it would tell


def _methods(protocol: type[Any]) -> list[str]:
    own = [name for cls in reversed(protocol.__mro__) for name in vars(cls) if not name.startswith("_")]
    return [name for name in dict.fromkeys(own) if inspect.isfunction(getattr(protocol, name, None))]


def _takes(client: type[Any], name: str, wanted: Any) -> bool:
    """Whether the method can be called with as many arguments as the protocol's."""
    found = getattr(client, name)
    if not inspect.isfunction(found):
        return True  # only calling it would tell
    arguments = list(inspect.signature(wanted).parameters)
    if isinstance(inspect.getattr_static(client, name), staticmethod):
        del arguments[0]
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError:
        return False
    return True


def _parameters(found: Any) -> str:
    names = [name for name in inspect.signature(found).parameters if name != "self"]
    return f"({', '.join(names)})"


def _signature(wanted: Any) -> str:
    return str(inspect.signature(wanted)).replace("'", "")
