"""Two Haganes on one PostgreSQL and the same real Hosts: both serve, one is killed, the other completes its work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection

from tests.dataplane.cloud import Clock, Cloud, running, until
from tests.dataplane.picture import differences, picture
from tests.dataplane.servers import Servers
from tests.dataplane.tenant import Tenant
from tests.outside import Process

pytestmark = [pytest.mark.real, pytest.mark.slow]
LEASE = 3.0


@pytest.fixture
def cloud(tmp_path: Path, postgres_url: str) -> Iterator[Cloud]:
    with running(tmp_path, database=postgres_url, workers_lease=LEASE) as cloud:
        yield cloud


def second(cloud: Cloud) -> Process:
    """Another process with the same settings and a port of its own, as a load balancer would have it beside the first."""
    process = Process(cloud.site.state, **cloud.settings)
    process.start(timeout=60)
    return process


def test_both_serve_and_one_completes_what_the_other_left(cloud: Cloud, tmp_path: Path) -> None:
    other = second(cloud)
    here, there = cloud.process.connect(direct=True), other.connect(direct=True)
    tenant = Tenant(cloud, here)
    assert list(tenant.api.security_groups())
    before = until(lambda: settled(cloud), 10, "OVN has what there is")
    green = tenant.network("green", "10.10.0.0/24")
    tenant.router("edge", green)
    group = tenant.open_group()
    (tmp_path / "keys").mkdir()
    servers = Servers(tenant, tmp_path / "keys")
    first = servers.active(servers.order("first", green, group, host="host1"))
    assert there.compute.get_server(first.id).status == "ACTIVE"
    assert there.network.get_port(servers.port(first).id).status == "ACTIVE"
    booted = servers.booted(first)
    assert "metadata=http" in booted  # from one of the two

    orders = [servers.order(f"s{n}", green, group) for n in range(4)]
    cloud.process.kill()
    clock = Clock()
    for server in orders:
        until(lambda server=server: active(there, server), 30, f"{server.name} is ACTIVE")  # type: ignore[misc]
    print(f"all ACTIVE {clock.seconds} s after the other was killed")
    assert clock.seconds < LEASE + 12

    for server in (first, *orders[:2]):
        there.compute.delete_server(server.id)
    other.kill()  # and the other way round
    cloud.start()
    clock = Clock()
    for server in (first, *orders[:2]):
        until(lambda server=server: servers.gone(server), 30, f"{server.name} is gone")  # type: ignore[misc]
    print(f"all gone {clock.seconds} s after the start")
    other.start(timeout=60)
    servers.end()
    tenant.end()
    until(lambda: not differences(before, picture(cloud)), 20, "OVN is as it was")
    for host in cloud.site.hosts:
        connection = cloud.libvirt(host)
        assert connection.listAllDomains() == []
        connection.close()
    cloud.doctor()


def settled(cloud: Cloud) -> Any:
    cloud.doctor()
    return picture(cloud)


def active(conn: Connection, server: Any) -> bool:
    now = conn.compute.get_server(server.id)
    assert now.status != "ERROR", now.fault
    return now.status == "ACTIVE" and now.task_state is None
