"""What nemeses need is looked at before anything is deployed."""

from __future__ import annotations

import pytest

from foreshock.harness.errors import UsageError
from foreshock.harness.plan import resolve
from foreshock.harness.request import Request


def test_an_upgrade_of_a_target_with_one_version_is_refused() -> None:
    with pytest.raises(
        UsageError,
        match="the nemesis 'upgrade' needs a target that has two versions or more, and the target 'raft' names no",
    ):
        resolve(Request(target="raft", workload="register", nemesis="upgrade", backend="sim"))


def test_what_the_options_ask_for_is_needed_too() -> None:
    options = {"primary.kinds": "kill,starve"}
    with pytest.raises(UsageError, match="'primary' needs starve, which the backend 'sim' does not offer"):
        resolve(
            Request(target="raft", workload="register", nemesis="primary", backend="sim", options=options)
        )
    resolve(
        Request(target="raft", workload="register", nemesis="primary", backend="process", options=options)
    )
    resolve(Request(target="raft", workload="register", nemesis="primary,slow-start", backend="sim"))


def test_who_has_no_leader_has_none_to_strike() -> None:
    with pytest.raises(
        UsageError, match="'primary' needs primary, which the target 'tcp-lock' does not offer"
    ):
        resolve(Request(target="tcp-lock", workload="lock", nemesis="primary", backend="sim"))
