"""What etcd, ZooKeeper and PostgreSQL promise as they are set up here, and the tests that show where that ends.

They cannot be simulated, so ``foreshock zoo`` leaves them out; ``docs/external`` tells of each, and the tests run them
on real processes.
"""

from __future__ import annotations

from typing import Final

from foreshock.harness.exhibit import Exhibit, Promise

ETCD_PROMISES: Final[tuple[Promise, ...]] = ()
ETCD_EXHIBITS: Final[tuple[Exhibit, ...]] = ()
ZOOKEEPER_PROMISES: Final[tuple[Promise, ...]] = ()
ZOOKEEPER_EXHIBITS: Final[tuple[Exhibit, ...]] = ()
POSTGRESQL_PROMISES: Final[tuple[Promise, ...]] = ()
POSTGRESQL_EXHIBITS: Final[tuple[Exhibit, ...]] = ()
