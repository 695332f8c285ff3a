"""The origin of the cache: versions that never come back."""

from __future__ import annotations

import json

from foreshock.targets.reference.node.services.cache import CacheOrigin


def test_a_get_with_the_present_version_is_spared_the_value() -> None:
    origin = CacheOrigin()
    version = origin.apply(None, ["put", "k", "v"])["version"]
    assert origin.get("k", None) == {"type": "get_ok", "version": version, "value": "v"}
    assert origin.get("k", version) == {"type": "get_ok", "version": version, "unchanged": True}


def test_putting_the_same_value_again_after_a_delete_gives_another_version() -> None:
    origin = CacheOrigin()
    first = origin.apply(None, ["put", "k", "v"])["version"]
    origin.apply(None, ["delete", "k"])
    assert origin.get("k", first) == {"type": "get_ok", "version": 0, "value": None}
    second = origin.apply(None, ["put", "k", "v"])["version"]
    assert second > first
    assert origin.get("k", first)["value"] == "v"


def test_absence_has_a_version_too_and_deleting_nothing_is_no_error() -> None:
    origin = CacheOrigin()
    assert origin.apply(None, ["delete", "k"]) == {"type": "delete_ok"}
    assert origin.get("k", 0) == {"type": "get_ok", "version": 0, "unchanged": True}


def test_versions_go_on_after_a_snapshot_even_of_an_empty_origin() -> None:
    origin = CacheOrigin()
    origin.apply(None, ["put", "k", "v"])
    origin.apply(None, ["delete", "k"])
    copy = CacheOrigin()
    copy.restore(json.loads(json.dumps(origin.snapshot())))
    assert copy.apply(None, ["put", "k", "v"])["version"] == 2
