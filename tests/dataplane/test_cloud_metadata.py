"""The metadata service of a real cloud: booted machines on two Hosts learn from it, before and after a `kill -9`."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.metadata import space
from hagane.lab import guest
from tests.dataplane.cloud import Cloud, running, until

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("metadata")) as cloud:
        until(lambda: [h.state for h in cloud.conn.compute.hypervisors(details=True)] == ["up"] * 2, 60, "Hosts are up")
        yield cloud


def guest_image(cloud: Cloud) -> Any:
    with guest.build().path.open("rb") as data:
        return cloud.conn.image.create_image(
            name="guest", disk_format="qcow2", container_format="bare", data=data, validate_checksum=False
        )


def boot(cloud: Cloud, network: Any, name: str) -> Any:
    script = base64.b64encode(f"#!/bin/sh\necho told-{name}\n".encode()).decode()
    flavor = cloud.conn.compute.find_flavor("metadata", ignore_missing=True) or cloud.conn.compute.create_flavor(
        name="metadata", ram=128, vcpus=1, disk=1
    )
    image = next(cloud.conn.image.images(name="guest"), None) or guest_image(cloud)
    return cloud.conn.compute.create_server(name=name, flavor_id=flavor.id, image_id=image.id, user_data=script,
                                            networks=[{"uuid": network.id}], config_drive=False)  # fmt: skip


def told(cloud: Cloud, server: Any) -> bool:
    """Whether the machine has run what only the metadata service could tell it."""
    return f"told-{server.name}" in cloud.conn.compute.get_server_console_output(server.id)["output"]


def spaces(cloud: Cloud) -> list[str]:
    return space.named(f"{cloud.site.prefix}-meta-")


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # openstacksdk warns of itself
def test_machines_learn_from_it_and_it_ends_with_them(cloud: Cloud, tmp_path: Path) -> None:
    network = cloud.conn.network.create_network(name="n")
    cloud.conn.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.5.0.0/24")
    assert spaces(cloud) == []
    servers = [boot(cloud, network, f"web{number}") for number in range(2)]
    for server in servers:
        until(lambda server=server: told(cloud, server), 120, f"{server.name} got its user-data")  # type: ignore[misc]
    assert len({cloud.conn.compute.get_server(server).compute_host for server in servers}) == 2
    (name,) = spaces(cloud)
    before = space.identity(name)
    assert subprocess.run(["ip", "netns", "pids", name], capture_output=True).stdout == b""  # no process in it

    cloud.process.kill()
    cloud.start()
    servers.append(boot(cloud, network, "later"))
    until(lambda: told(cloud, servers[-1]), 120, "a machine after the restart got its user-data")
    assert (spaces(cloud), space.identity(name)) == ([name], before)

    for server in servers:
        cloud.conn.compute.delete_server(server)
    until(lambda: spaces(cloud) == [], 60, "the metadata service goes with the last machine")
