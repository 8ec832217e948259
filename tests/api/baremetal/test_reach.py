"""A Node's owner who is no administrator names only what is theirs: images, networks and Ports of others are refused."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.baremetal.test_agent import at_state
from tests.api.baremetal.test_node import fault
from tests.api.people import Person, person
from tests.support import Running

VERSION = {"X-OpenStack-Ironic-API-Version": "1.115"}


@pytest.fixture(scope="module")
def owner(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    who.http.headers.update(VERSION)
    yield who
    who.http.close()


@pytest.fixture(scope="module")
def other(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


@pytest.fixture
def node(metal: httpx.Client, owner: Person) -> str:
    answer = metal.post("/nodes", json={"driver": "fake-hardware", "owner": owner.project_id})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["uuid"])


def image(of: Person) -> str:
    body = {"name": "secret", "disk_format": "raw", "container_format": "bare"}
    return str(of.http.post("/image/v2/images", json=body).raise_for_status().json()["id"])


def name(of: Person, node: str, path: str, value: Any) -> httpx.Response:
    patch = [{"op": "add", "path": path, "value": value}]
    return of.http.patch(f"/baremetal/v1/nodes/{node}", json=patch)


@pytest.mark.parametrize("path", ["/instance_info/image_source", "/driver_info/deploy_kernel",
                                  "/driver_info/deploy_ramdisk", "/driver_info/rescue_kernel",
                                  "/driver_info/rescue_ramdisk", "/instance_info/kernel"])  # fmt: skip
def test_images_of_others_cannot_be_named(owner: Person, other: Person, node: str, path: str) -> None:
    mine, theirs = image(owner), image(other)
    assert name(owner, node, path, mine).status_code == 200
    for way in (theirs, f"glance://{theirs}"):
        assert fault(name(owner, node, path, way), 400) == f"Image {way} can not be found."
    whole = path.split("/")[1]
    assert "can not be found" in fault(name(owner, node, f"/{whole}", {path.split("/")[2]: theirs}), 400)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "glance://http://127.0.0.1:9/x", "glance://HTTPS://a/x",
                                 "glance://glance://http://a/x", "file:///etc/passwd"])  # fmt: skip
def test_urls_cannot_be_named(owner: Person, node: str, url: str) -> None:
    """What stands behind glance:// is an image's id, and no way around."""
    assert "Only an administrator" in fault(name(owner, node, "/instance_info/image_source", url), 403)
    assert "Only an administrator" in fault(name(owner, node, "/instance_info", {"image_source": url}), 403)


def test_an_administrator_may_name_them(metal: httpx.Client, other: Person, node: str) -> None:
    patch = [{"op": "add", "path": "/instance_info/image_source", "value": image(other)}]
    assert metal.patch(f"/nodes/{node}", json=patch).status_code == 200


def test_who_deploys_must_see_the_image(
    cloud: Running, metal: httpx.Client, owner: Person, other: Person, node: str
) -> None:
    """An image that an administrator named, or that was made private since."""
    theirs = image(other)
    patch = [{"op": "add", "path": "/instance_info/image_source", "value": theirs}]
    assert metal.patch(f"/nodes/{node}", json=patch).status_code == 200
    at_state(cloud, node, "available")
    answer = owner.http.put(f"/baremetal/v1/nodes/{node}/states/provision", json={"target": "active"})
    assert fault(answer, 400) == f"Image {theirs} can not be found."
    at_state(cloud, node, "enroll")


def test_networks_of_others_cannot_be_named(owner: Person, other: Person, node: str) -> None:
    def network(of: Person) -> str:
        return str(of.http.post("/network/v2.0/networks", json={"network": {}}).json()["network"]["id"])

    assert name(owner, node, "/driver_info/cleaning_network", network(owner)).status_code == 200
    theirs = network(other)
    assert fault(name(owner, node, "/driver_info/provisioning_network", theirs), 400) == (
        f"Network {theirs} could not be found."
    )


def test_ports_of_others_cannot_be_plugged(metal: httpx.Client, owner: Person, other: Person, node: str) -> None:
    def port(of: Person) -> str:
        net = of.http.post("/network/v2.0/networks", json={"network": {}}).json()["network"]["id"]
        return str(of.http.post("/network/v2.0/ports", json={"port": {"network_id": net}}).json()["port"]["id"])

    mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid4().bytes[:3])
    assert metal.post("/ports", json={"node_uuid": node, "address": mac}).status_code == 201
    theirs, vifs = port(other), f"/baremetal/v1/nodes/{node}/vifs"
    assert "could not be found" in fault(owner.http.post(vifs, json={"id": theirs}), 400)
    assert owner.http.get(vifs).json() == {"vifs": []}
    assert owner.http.post(vifs, json={"id": port(owner)}).status_code == 204


def test_an_owner_cannot_enrol_with_them(cloud: Running, other: Person) -> None:
    """Who may enrol for a project without being an administrator, by a service's role."""
    with person(cloud, "service").http as http:
        body = {"driver": "fake-hardware", "driver_info": {"deploy_kernel": image(other)}}
        answer = http.post("/baremetal/v1/nodes", json=body, headers=VERSION)
        assert "can not be found" in fault(answer, 400)


def volume(of: Person) -> str:
    answer = of.http.post("/volume/v3/volumes", json={"volume": {"size": 1}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["volume"]["id"])


def target(of: httpx.Client, node: str, volume_id: str, **more: Any) -> httpx.Response:
    body = {"node_uuid": node, "volume_type": "iscsi", "boot_index": 0, "volume_id": volume_id} | more
    return of.post("/baremetal/v1/volume/targets", json=body)


def test_volumes_of_others_cannot_be_booted_from(
    cloud: Running, metal: httpx.Client, owner: Person, other: Person, node: str
) -> None:
    owner = person(cloud, "manager", owner.project_id)
    owner.http.headers.update(VERSION)
    mine, theirs, nobodys = volume(owner), volume(other), str(uuid4())
    for wrong in (theirs, nobodys):
        assert fault(target(owner.http, node, wrong), 400) == f"Volume {wrong} could not be found."
    assert "this cloud's own" in fault(target(owner.http, node, mine, extra={"hagane_server": str(uuid4())}), 400)
    made = target(owner.http, node, mine)
    assert made.status_code == 201, made.text
    path = f"/baremetal/v1/volume/targets/{made.json()['uuid']}"
    metal.put(f"/nodes/{node}/states/power", json={"target": "power off"})
    for field, value in (("/volume_id", theirs), ("/extra", {"hagane_server": "x"})):
        answer = owner.http.patch(path, json=[{"op": "add", "path": field, "value": value}])
        assert answer.status_code == 400, answer.text
    owner.http.close()


def transfer(volume_id: str, giver: Person, taker: Person) -> None:
    path = "/volume/v3/os-volume-transfer"
    made = giver.http.post(path, json={"transfer": {"volume_id": volume_id}}).raise_for_status().json()["transfer"]
    accept = {"accept": {"auth_key": made["auth_key"]}}
    taker.http.post(f"{path}/{made['id']}/accept", json=accept).raise_for_status()


def test_a_volume_that_changed_hands_is_not_booted_from(
    cloud: Running, metal: httpx.Client, owner: Person, other: Person, node: str
) -> None:
    """Its former owner wrote the target while it was theirs."""
    manager = person(cloud, "manager", owner.project_id)
    manager.http.headers.update(VERSION)
    key = volume(owner)
    cloud.settle()
    assert target(manager.http, node, key).status_code == 201
    wanted = {"storage_interface": "cinder", "deploy_interface": "direct"}
    body = [{"op": "add", "path": f"/{field}", "value": value} for field, value in wanted.items()]
    assert metal.patch(f"/nodes/{node}", json=body).status_code == 200
    transfer(key, owner, other)
    at_state(cloud, node, "available")
    states = f"/baremetal/v1/nodes/{node}/states/provision"
    for who in (owner, manager):
        answer = who.http.put(states, json={"target": "active"})
        assert fault(answer, 400) == f"Volume {key} could not be found."
    transfer(key, other, owner)
    assert owner.http.put(states, json={"target": "active"}).status_code == 202
    cloud.settle()
    manager.http.close()


def test_a_network_for_storage_of_others_cannot_be_named(owner: Person, other: Person, node: str) -> None:
    theirs = other.http.post("/network/v2.0/networks", json={"network": {"name": "s"}}).json()["network"]["id"]
    answer = name(owner, node, "/driver_info/storage_network", theirs)
    assert fault(answer, 400) == f"Network {theirs} could not be found."
