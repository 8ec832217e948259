"""Ports that name other projects' machines, routers and networks as theirs: a claim, of which nothing comes."""

import base64
from typing import Any

import pytest

from hagane.ovn.northbound import Table
from hagane.reconcile.ovn.part import NetworkPart
from tests.api.people import Person
from tests.api.test_metadata import ask, look, network, server
from tests.support import Running

SECRET = base64.b64encode(b"a secret of the victim").decode()


@pytest.fixture(scope="module")
def place(victim: Person) -> str:
    return network(victim)


@pytest.fixture(scope="module")
def machine(cloud: Running, victim: Person, place: str) -> dict[str, Any]:
    return server(cloud, victim, place, user_data=SECRET)


def port(who: Person, net: str, **more: Any) -> Any:
    return who.http.post("/network/v2.0/ports", json={"port": {"network_id": net} | more})


def test_a_port_that_calls_anothers_machine_its_own_gets_no_metadata_of_it(
    cloud: Running, victim: Person, stranger: Person, machine: dict[str, Any]
) -> None:
    mine = network(stranger)
    made = port(stranger, mine, device_id=machine["id"], device_owner="compute:nova").json()["port"]
    server(cloud, stranger, mine)
    look(cloud)
    reply = ask(cloud, mine, made["fixed_ips"][0]["ip_address"], "/openstack/latest/user_data")
    assert reply.status == 404, reply.body


def test_nor_does_it_show_among_that_machines_addresses_and_groups(
    cloud: Running, victim: Person, stranger: Person, machine: dict[str, Any]
) -> None:
    named = {"security_group": {"name": "strange"}}
    group = stranger.http.post("/network/v2.0/security-groups", json=named).json()["security_group"]["id"]
    fixed = [{"ip_address": "10.0.0.99"}]
    more = {"fixed_ips": fixed, "security_groups": [group]}
    strange = port(stranger, network(stranger), device_id=machine["id"], device_owner="compute:nova", **more)
    assert strange.status_code == 201, strange.text
    shown = victim.http.get(f"/compute/v2.1/servers/{machine['id']}").json()["server"]
    assert "10.0.0.99" not in str(shown["addresses"]) and "strange" not in str(shown["security_groups"])
    ports = victim.http.get(f"/compute/v2.1/servers/{machine['id']}/os-interface").json()["interfaceAttachments"]
    assert len(ports) == 1
    added = victim.http.post(
        f"/compute/v2.1/servers/{machine['id']}/action", json={"addSecurityGroup": {"name": "default"}}
    )
    assert added.status_code == 202, added.text
    path = f"/network/v2.0/ports/{strange.json()['port']['id']}"
    assert stranger.http.get(path).json()["port"]["security_groups"] == [group]


def test_a_metadata_port_of_one_network_does_not_answer_for_another(
    cloud: Running, stranger: Person, place: str, machine: dict[str, Any]
) -> None:
    before = look(cloud).endpoints[place]
    mine = network(stranger)
    port(stranger, mine, device_owner="network:distributed", device_id=f"ovnmeta-{place}")
    assert look(cloud).endpoints[place] == before


@pytest.mark.parametrize(
    "owner", ["network:router_interface", "network:router_gateway", "network:router_interface_distributed",
              "network:ha_router_replicated_interface", "network:router_centralized_snat"],
)  # fmt: skip
def test_no_port_joins_another_projects_router(cloud: Running, victim: Person, stranger: Person, owner: str) -> None:
    router = victim.http.post("/network/v2.0/routers", json={"router": {"name": "r"}}).json()["router"]["id"]
    mine = network(stranger)
    port(stranger, mine, device_owner=owner, device_id=router)
    idle = port(stranger, mine).json()["port"]["id"]
    stranger.http.put(f"/network/v2.0/ports/{idle}", json={"port": {"device_owner": owner, "device_id": router}})
    victim.http.put(f"/network/v2.0/routers/{router}", json={"router": {"name": "again"}}).raise_for_status()
    cloud.settle()
    rows = cloud.hagane.cloud.use(NetworkPart).ovn.rows[f"router:{router}"]  # type: ignore[attr-defined]
    assert [key for table, key in rows if table == Table.ROUTER_PORT] == []
