"""Every exception that Foreshock raises on purpose.

::

    ForeshockError
    +-- UsageError            a wrong plan, option or name: said before anything is deployed (exit 4)
    |   +-- NotAvailable      the plan is right, but this machine lacks what it needs
    +-- HarnessError          the harness itself could not do its work (exit 3); never an ``invalid``
    |   +-- DeployError       the cluster could not be brought up
    |   +-- FaultError        a fault could not be injected, verified or healed
    |   +-- PlugInError       a plug-in did not import or does not keep its contract
    |   +-- PartlyDone        some of many things could not be done; says which were
    +-- OperationError        raised by clients; becomes a completion of the operation
        +-- Definite          the operation certainly had no effect (``fail``)
        +-- Indefinite        the operation may take effect, now, later or never (``info``)
"""

from __future__ import annotations

from collections.abc import Sequence


class ForeshockError(Exception):
    """Base of every error that Foreshock raises on purpose; its text is one sentence for the user."""


class UsageError(ForeshockError):
    """The user asked for something wrong or impossible; nothing has been deployed yet."""


class NotAvailable(UsageError):
    """What was asked for could run elsewhere: this machine lacks an engine or a program, and the text says which."""


class HarnessError(ForeshockError):
    """The harness could not do its own work. Reported beside the verdict, never instead of it."""


class DeployError(HarnessError):
    """The cluster could not be deployed or did not become healthy."""


class FaultError(HarnessError):
    """A fault did not take, could not be verified, or could not be healed."""


class PlugInError(HarnessError):
    """A plug-in did not import, or does not keep the contract of its base class."""


class PartlyDone(HarnessError):
    """Of many things some could not be done: ``errors`` says of each why, ``done`` what was done all the same."""

    def __init__(self, done: Sequence[str], errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.done = tuple(done)
        self.errors = tuple(errors)


class OperationError(ForeshockError):
    """Base of what a client raises to say how its operation ended."""


class Definite(OperationError):
    """The operation certainly did not happen: it completes as ``fail``.

    Raise it only when the server proved that there was no effect, or when the request was certainly
    never sent (a refused connection).
    """


class Indefinite(OperationError):
    """Nobody knows whether the operation happened: it completes as ``info``.

    A client need not raise it: a timeout, a dropped connection and any exception that is not
    :class:`Definite` mean the same.
    """
