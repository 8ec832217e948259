"""What the API stores becomes what OVN is to have, also where one thing is made of the values of another."""

from typing import Any

import pytest

from hagane.ovn.northbound import Table
from hagane.reconcile.ovn.part import NetworkPart
from tests.api.people import Person, person
from tests.support import Running


@pytest.fixture
def who(cloud: Running) -> Any:
    made = person(cloud)
    yield made
    made.http.close()


def rows(cloud: Running, owner: str, table: Table) -> list[dict[str, Any]]:
    """What is to be in OVN for one owner, when all work is done."""
    cloud.settle()
    desired = cloud.hagane.cloud.use(NetworkPart).ovn.rows[owner]  # type: ignore[attr-defined]
    return [row.columns for (kind, _), row in desired.items() if kind == table]


def made(who: Person, kind: str, **body: Any) -> dict[str, Any]:
    answer = who.http.post(f"/network/v2.0/{kind.replace('_', '-')}s", json={kind: body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json()[kind])


def change(who: Person, kind: str, key: str, verb: str = "", **body: Any) -> None:
    path = f"/network/v2.0/{kind.replace('_', '-')}s/{key}{verb}"
    who.http.put(path, json=body if verb else {kind: body}).raise_for_status()


def test_an_address_group_is_in_the_rules_that_name_it(cloud: Running, who: Person) -> None:
    addresses = made(who, "address_group", addresses=["10.1.0.0/16"])["id"]
    group = made(who, "security_group", name="g")["id"]
    rule = {"direction": "ingress", "ethertype": "IPv4", "remote_address_group_id": addresses}
    made(who, "security_group_rule", security_group_id=group, **rule)

    def matches() -> str:
        return " ".join(row["match"] for row in rows(cloud, f"security_group:{group}", Table.ACL))

    assert "ip4.src == {10.1.0.0/16}" in matches()
    change(who, "address_group", addresses, "/add_addresses", addresses=["10.2.0.0/16"])
    assert "ip4.src == {10.1.0.0/16, 10.2.0.0/16}" in matches()


def test_ports_and_routers_follow_their_network(cloud: Running, who: Person) -> None:
    net = made(who, "network", name="n")["id"]
    subnet = made(who, "subnet", network_id=net, ip_version=4, cidr="10.0.0.0/24")["id"]
    router = made(who, "router", name="r")["id"]
    change(who, "router", router, "/add_router_interface", subnet_id=subnet)
    plain = made(who, "port", network_id=net)["id"]
    special = made(who, "port", network_id=net, extra_dhcp_opts=[{"opt_name": "42", "opt_value": "10.0.0.9"}])["id"]

    def own() -> dict[str, str]:
        return dict(rows(cloud, f"port:{special}", Table.DHCP)[0]["options"])

    assert (own()["ntp_server"], own()["mtu"]) == ("10.0.0.9", "1442")
    change(who, "network", net, mtu=1300)
    assert own()["mtu"] == "1300"
    change(who, "subnet", subnet, dns_nameservers=["10.0.0.53"])
    assert own()["dns_server"] == "{10.0.0.53}"

    def dhcp() -> object:
        return rows(cloud, f"port:{plain}", Table.PORT)[0]["dhcpv4_options"]

    assert dhcp()
    change(who, "subnet", subnet, enable_dhcp=False)
    assert not dhcp()
    change(who, "subnet", subnet, enable_dhcp=True)
    assert dhcp()
