from __future__ import annotations

import pytest

from foreshock.harness.errors import Definite
from foreshock.workloads.guarded_resource import GuardedResource


def test_without_fencing_two_users_at_once_lose_an_update() -> None:
    resource = GuardedResource(fencing=False)
    first, second = resource.read(1, 5), resource.read(1, 4)
    resource.write(1, 5, first + 1)
    resource.write(1, 4, second + 1)
    assert resource.read(1, None) == 1
    assert resource.read(2, None) == 0


def test_with_fencing_an_older_token_is_refused_and_nothing_is_written() -> None:
    resource = GuardedResource(fencing=True)
    resource.write(1, 5, 1)
    with pytest.raises(Definite, match="refused token 4: it has seen 5"):
        resource.write(1, 4, 9)
    with pytest.raises(Definite, match="refused token 4"):
        resource.read(1, 4)
    assert resource.read(1, 5) == 1
    assert resource.read(2, 1) == 0


def test_with_fencing_a_grant_without_a_token_is_refused() -> None:
    with pytest.raises(Definite, match="without one"):
        GuardedResource(fencing=True).read(1, None)
