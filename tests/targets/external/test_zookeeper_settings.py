"""What a ZooKeeper server is told when it starts."""

from __future__ import annotations

from foreshock.harness.cluster import Endpoint, FurtherPort, Node
from foreshock.targets.external.zookeeper import ZooKeeper, ZooKeeperOptions

HERE, THERE = Endpoint(host="10.0.0.1", port=2181), Endpoint(host="10.0.0.2", port=2181)
ONE = Node(
    name="n1",
    index=0,
    endpoint=HERE,
    listen=HERE,
    peers={"n2": THERE},
    data_directory="/data",
    cluster="run",
    further={
        name: FurtherPort(
            Endpoint("10.0.0.1", port), Endpoint("0.0.0.0", port), {"n2": Endpoint("10.0.0.2", port)}
        )
        for name, port in (("quorum", 2888), ("election", 3888))
    },
)


def test_a_server_takes_all_clients_of_a_test_though_they_have_one_address() -> None:
    """Of its own accord it takes 60 of one address, and refuses whoever comes then, for good: nothing is served."""
    command = " ".join(ZooKeeper(ZooKeeperOptions(), seed=1).command(ONE))
    assert " maxClientCnxns=0 " in command
    assert " server.0=n1:2888:3888 server.1=n2:2888:3888 " in command
