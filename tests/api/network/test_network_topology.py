"""Auto-allocated topology: made when it is first asked for, gone as a whole."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.network.net import Net, external
from tests.api.people import person
from tests.support import Running

PATH = "/auto-allocated-topology"
KEY = "auto_allocated_topology"


@pytest.fixture
def newcomer(cloud: Running) -> Iterator[Net]:
    who = person(cloud)
    yield Net(who.http, who.project_id)
    who.http.close()


def defaults(root: Net) -> Iterator[None]:
    for network in root.get("/networks", is_default=True)["networks"]:
        root.change("network", network, is_default=False)
    network, _ = external(root, "198.51.102.0/24")
    root.change("network", network, is_default=True)
    pool = root.make("subnetpool", name="default", prefixes=["10.250.0.0/16"], is_default=True, shared=True,
                     default_prefixlen=26)  # fmt: skip
    yield
    root.delete("subnetpool", pool)
    root.delete("network", network)


@pytest.fixture
def ready(root: Net) -> Iterator[None]:
    yield from defaults(root)


def test_without_defaults_there_is_none(root: Net, newcomer: Net) -> None:
    for network in root.get("/networks", is_default=True)["networks"]:
        root.change("network", network, is_default=False)
    text = "Deployment error: No default router:external network."
    for query in ("", "?fields=dry-run"):
        newcomer.refused("GET", f"{PATH}/{newcomer.project_id}{query}", None, 409, "AutoAllocationFailure", text)


def test_it_is_made_when_asked_for(cloud: Running, root: Net, newcomer: Net, ready: None) -> None:
    path = f"{PATH}/{newcomer.project_id}"
    owner = {"tenant_id": newcomer.project_id, "project_id": newcomer.project_id}
    assert newcomer.get(path, fields="dry-run")[KEY] == {"id": "dry-run=pass"} | owner
    assert newcomer.get("/networks", project_id=newcomer.project_id)["networks"] == []
    made = newcomer.get(path)[KEY]
    assert newcomer.get(path)[KEY] == newcomer.get(f"{PATH}/None")[KEY] == made
    [network] = newcomer.get("/networks", project_id=newcomer.project_id)["networks"]
    assert made == {"id": network["id"]} | owner
    assert (network["name"], network["admin_state_up"]) == ("auto_allocated_network", True)
    [subnet] = newcomer.get("/subnets", network_id=network["id"])["subnets"]
    assert (subnet["name"], subnet["cidr"][-3:]) == ("auto_allocated_subnet_v4", "/26")
    [router] = newcomer.get("/routers")["routers"]
    assert (router["name"], router["external_gateway_info"] is None) == ("auto_allocated_router", False)
    port = newcomer.port(network)
    newcomer.refused("DELETE", path, None, 409, "NetworkInUse")
    assert newcomer.get(path)[KEY] == made
    newcomer.delete("port", port)
    newcomer.ask("DELETE", path, status=204)
    assert newcomer.get("/routers")["routers"] == []
    assert newcomer.get("/networks", project_id=newcomer.project_id)["networks"] == []
    newcomer.ask("DELETE", path, status=204)
    cloud.settle()


def test_who_deletes_it_by_hand_gets_another(newcomer: Net, ready: None) -> None:
    path = f"{PATH}/{newcomer.project_id}"
    made = newcomer.get(path)[KEY]
    [router] = newcomer.get("/routers")["routers"]
    [subnet] = newcomer.get("/subnets", network_id=made["id"])["subnets"]
    newcomer.ask("PUT", f"/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
    newcomer.delete("router", router)
    assert newcomer.get(path)[KEY] == made
    newcomer.delete("network", made)
    other = newcomer.get(path)[KEY]
    assert other["id"] != made["id"]
    newcomer.ask("DELETE", path, status=204)


def test_it_is_its_projects(cloud: Running, root: Net, alice: Net, newcomer: Net, ready: None) -> None:
    alice.refused("GET", f"{PATH}/{newcomer.project_id}", None, 403, "NotAuthorized")
    alice.refused("DELETE", f"{PATH}/{newcomer.project_id}", None, 403, "NotAuthorized")
    reader: Any = person(cloud, "reader", newcomer.project_id)
    Net(reader.http).refused("GET", f"{PATH}/{newcomer.project_id}", None, 403, "PolicyNotAuthorized")
    reader.http.close()
    made = root.get(f"{PATH}/{newcomer.project_id}")[KEY]
    assert newcomer.show("network", made)["id"] == made["id"]
    root.ask("DELETE", f"{PATH}/{newcomer.project_id}", status=204)
