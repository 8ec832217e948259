"""The metadata service of a simulated cloud: which networks have it, and who gets what from it."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hagane.drivers.metadata.base import Reply
from hagane.drivers.metadata.sim import SimMetadata
from hagane.errors import Unavailable
from hagane.reconcile.metadata import MetadataPart
from tests.api.people import Person, person
from tests.support import Running

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUCAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"


@pytest.fixture(scope="module")
def alice(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


def network(who: Person) -> str:
    """A network whose addresses are everybody's."""
    made = who.http.post("/network/v2.0/networks", json={"network": {"name": "n"}}).json()["network"]["id"]
    subnet = {"network_id": made, "ip_version": 4, "cidr": "10.0.0.0/24"}
    who.http.post("/network/v2.0/subnets", json={"subnet": subnet}).raise_for_status()
    return str(made)


def server(cloud: Running, who: Person, net: str, **more: Any) -> dict[str, Any]:
    admin = {"X-Auth-Token": cloud.token()}
    flavor = {"flavor": {"name": f"f{time.time_ns()}", "ram": 64, "vcpus": 1, "disk": 1}}
    made = who.http.post("/compute/v2.1/flavors", json=flavor, headers=admin).json()["flavor"]["id"]
    image = who.http.post("/image/v2/images", json={"disk_format": "raw", "container_format": "bare"}).json()["id"]
    octets = {"Content-Type": "application/octet-stream"}
    who.http.put(f"/image/v2/images/{image}/file", content=b"x" * 512, headers=octets).raise_for_status()
    body = {"name": "web", "flavorRef": made, "imageRef": image, "networks": [{"uuid": net}]} | more
    answer = who.http.post("/compute/v2.1/servers", json={"server": body})
    assert answer.status_code == 202, answer.text
    until = time.monotonic() + 10
    while True:
        found = who.http.get(f"/compute/v2.1/servers/{answer.json()['server']['id']}").json()["server"]
        if found["status"] == "ACTIVE":
            return dict(found)
        assert found["status"] == "BUILD" and time.monotonic() < until, found
        time.sleep(0.02)


def look(cloud: Running) -> SimMetadata:
    """The driver, after the part has looked at the rows."""
    part = cloud.hagane.cloud.use(MetadataPart)
    cloud.run(part.look)
    assert part.problems == {}
    assert isinstance(part.driver, SimMetadata)
    return part.driver


def ask(cloud: Running, net: str, client: str, target: str) -> Reply:
    return cloud.run(lambda: look_driver(cloud).ask(net, client, target))


def look_driver(cloud: Running) -> SimMetadata:
    driver = cloud.hagane.cloud.use(MetadataPart).driver
    assert isinstance(driver, SimMetadata)
    return driver


def address(found: dict[str, Any]) -> str:
    return str(next(iter(found["addresses"].values()))[0]["addr"])


def test_a_server_learns_about_itself_and_nobody_else(cloud: Running, alice: Person) -> None:
    alice.http.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k", "public_key": KEY}}).raise_for_status()
    one, other = network(alice), network(alice)
    secret = base64.b64encode(b"#!/bin/sh\necho hello").decode()
    web = server(cloud, alice, one, user_data=secret, key_name="k")
    twin = server(cloud, alice, other, name="twin")
    look(cloud)
    told = json.loads(ask(cloud, one, address(web), "/openstack/latest/meta_data.json").body)
    assert (told["uuid"], told["name"], told["public_keys"]) == (web["id"], "web", {"k": KEY})
    assert ask(cloud, one, address(web), "/openstack/latest/user_data").body == b"#!/bin/sh\necho hello"
    assert json.loads(ask(cloud, other, address(twin), "/openstack/latest/meta_data.json").body)["uuid"] == twin["id"]
    assert ask(cloud, one, "10.0.0.250", "/openstack/latest/meta_data.json").status == 404


def test_only_networks_with_machines_have_it(cloud: Running, alice: Person) -> None:
    net = network(alice)
    assert net not in look(cloud).endpoints
    with pytest.raises(Unavailable):
        ask(cloud, net, "10.0.0.9", "/")
    web = server(cloud, alice, net)
    endpoint = look(cloud).endpoints[net]
    ports = alice.http.get(f"/network/v2.0/ports?network_id={net}&device_owner=network:distributed").json()["ports"]
    assert (endpoint.port_id, endpoint.mac) == (ports[0]["id"], ports[0]["mac_address"])
    assert endpoint.addresses == (f"{ports[0]['fixed_ips'][0]['ip_address']}/24",)
    alice.http.delete(f"/compute/v2.1/servers/{web['id']}").raise_for_status()
    cloud.settle()
    assert net not in look(cloud).endpoints


def test_it_comes_by_itself_soon_after_the_server(cloud: Running, alice: Person) -> None:
    net = network(alice)
    server(cloud, alice, net)
    until = time.monotonic() + 3
    while net not in look_driver(cloud).endpoints:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_guest_tells_the_password_that_it_made_once(cloud: Running, alice: Person) -> None:
    net = network(alice)
    made = server(cloud, alice, net)
    look(cloud)
    path, shown = "/openstack/2013-10-17/password", f"/compute/v2.1/servers/{made['id']}/os-server-password"

    def tell(body: bytes, target: str = path) -> int:
        asked = look_driver(cloud).ask
        return cloud.run(lambda: asked(net, address(made), target, method="POST", body=body)).status

    assert b"password" in ask(cloud, net, address(made), "/openstack/latest/").body
    assert [tell(b"x" * 1021), tell(b"\xff"), tell(b"x", "/openstack/1999/password")] == [400, 400, 404]
    assert tell(b"x", "/openstack/latest/meta_data.json") == 405
    assert [tell("Grün+/=".encode()), tell(b"other")] == [200, 409]
    assert alice.http.get(shown).json() == {"password": "Grün+/="}
    assert ask(cloud, net, address(made), path).body.decode() == "Grün+/="
    (row,) = cloud.run(lambda: cloud.hagane.cloud.db.fetch_tuples("SELECT told FROM server WHERE told IS NOT NULL"))
    assert "Gr" not in row[0][:3] and row[0].startswith("gA")
    assert alice.http.delete(shown).status_code == 204
    assert (alice.http.get(shown).json(), tell(b"other")) == ({"password": ""}, 200)
