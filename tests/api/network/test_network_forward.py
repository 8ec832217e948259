"""Port forwardings over HTTP, and as the load balancers that OVN is to have."""

from typing import Any

import pytest

from hagane.ovn.northbound import Table
from tests.api.network.net import ZERO, Net, external
from tests.api.network.test_network_compiled import rows
from tests.support import Running


@pytest.fixture(scope="module")
def outside(root: Net) -> dict[str, Any]:
    return external(root, "198.51.100.0/24")[0]


@pytest.fixture
def place(alice: Net, outside: dict[str, Any]) -> dict[str, Any]:
    """A network behind a router with a gateway, a port there, and a free floating IP."""
    network, subnet = alice.wired()
    router = alice.make("router", external_gateway_info={"network_id": outside["id"]})
    alice.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    floating = alice.make("floatingip", floating_network_id=outside["id"])
    return {"network": network, "subnet": subnet, "router": router, "port": alice.port(network), "floating": floating,
            "path": f"/floatingips/{floating['id']}/port_forwardings"}  # fmt: skip


def forward(net: Net, place: dict[str, Any], **values: Any) -> dict[str, Any]:
    body = {"protocol": "tcp", "internal_port_id": place["port"]["id"], "internal_port": 80, "external_port": 8080}
    return dict(net.ask("POST", place["path"], {"port_forwarding": body | values}, 201)["port_forwarding"])


def test_a_forwarding_has_the_keys_of_the_real_service(cloud: Running, alice: Net, bob: Net, place: Any) -> None:
    inner = place["port"]["fixed_ips"][0]["ip_address"]
    made = forward(alice, place, description="web")
    assert made == {
        "id": made["id"], "protocol": "tcp", "internal_port_id": place["port"]["id"], "internal_port": 80,
        "internal_port_range": "80:80", "external_port": 8080, "external_port_range": "8080:8080",
        "internal_ip_address": inner, "description": "web",
    }  # fmt: skip
    floating = alice.show("floatingip", place["floating"])
    assert floating["router_id"] == place["router"]["id"]
    assert floating["port_id"] is None
    assert floating["port_forwardings"] == [
        {name: made[name] for name in ("id", "internal_ip_address", "protocol", "internal_port", "external_port",
                                       "internal_port_id")}
    ]  # fmt: skip
    one = f"{place['path']}/{made['id']}"
    assert alice.get(one)["port_forwarding"] == made
    assert alice.get(place["path"], protocol="udp")["port_forwardings"] == []
    assert alice.get(place["path"], external_port=8080)["port_forwardings"] == [made]
    bob.refused("GET", place["path"], None, 404, "FloatingIPNotFound")
    bob.refused("DELETE", one, None, 404, "FloatingIPNotFound")
    alice.refused("GET", f"{place['path']}/{ZERO}", None, 404, "PortForwardingNotFound",
                  f"Port Forwarding {ZERO} could not be found.")  # fmt: skip
    changed = alice.ask("PUT", one, {"port_forwarding": {"external_port": 9090, "protocol": "udp"}})["port_forwarding"]
    assert (changed["external_port_range"], changed["protocol"]) == ("9090:9090", "udp")
    [balancer] = rows(cloud, f"floatingip:{floating['id']}", Table.LOAD_BALANCER)
    assert balancer["vips"] == {f"{floating['floating_ip_address']}:9090": f"{inner}:80"}
    alice.ask("DELETE", one, status=204)
    assert alice.show("floatingip", place["floating"])["router_id"] is None
    cloud.settle()


def test_what_is_in_use_stays(alice: Net, place: Any) -> None:
    made = forward(alice, place)
    path, other = f"/floatingips/{place['floating']['id']}", alice.port(place["network"])
    text = f"Floating IP {place['floating']['id']} in use by Port Forwarding resources."
    alice.refused("DELETE", path, None, 409, "FipInUseByPortForwarding", text)
    alice.refused("PUT", path, {"floatingip": {"port_id": other["id"]}}, 409, "FipInUseByPortForwarding")
    assert alice.change("floatingip", place["floating"], port_id=None)["router_id"] == place["router"]["id"]
    detach = f"/routers/{place['router']['id']}/remove_router_interface"
    alice.refused("PUT", detach, {"subnet_id": place["subnet"]["id"]}, 409, "RouterInterfaceInUseByFloatingIP")
    alice.refused("PUT", f"/routers/{place['router']['id']}", {"router": {"external_gateway_info": None}}, 409,
                  "RouterExternalGatewayInUseByFloatingIp")  # fmt: skip
    alice.delete("port", place["port"])
    alice.refused("GET", f"{place['path']}/{made['id']}", None, 404, "PortForwardingNotFound")
    alice.delete("floatingip", place["floating"])


def test_a_forwarding_goes_with_its_address(alice: Net, place: Any) -> None:
    forward(alice, place)
    alice.change("port", place["port"], fixed_ips=[{"subnet_id": place["subnet"]["id"], "ip_address": _other(place)}])
    assert alice.get(place["path"])["port_forwardings"] == []


def _other(place: Any) -> str:
    return str(place["subnet"]["cidr"]).replace("0/24", "99")


def test_what_cannot_be_is_refused(alice: Net, bob: Net, outside: Any, place: Any) -> None:
    def refuse(status: int, error: str, text: str = "", **values: Any) -> None:
        good = {"protocol": "tcp", "internal_port_id": place["port"]["id"], "internal_port": 80, "external_port": 8081}
        alice.refused("POST", place["path"], {"port_forwarding": good | values}, status, error, text)

    forward(alice, place)
    refuse(400, "BadRequest", "There is a port collision with the internal_port_range")
    refuse(400, "BadRequest", "with the external_port_range. The following ranges collide: 8080:8080 and 8080:8080",
           internal_port=81, external_port=8080)  # fmt: skip
    refuse(400, "HTTPBadRequest", "'0' is too small - must be at least '1'", external_port=0)
    refuse(400, "HTTPBadRequest", "is not in valid_values", protocol="icmp")
    refuse(400, "HTTPBadRequest", "First port in a port range must be lower", internal_port=None,
           internal_port_range="9:8")  # fmt: skip
    refuse(400, "BadRequest", "must be N-N or 1-N", internal_port_range="5:9", external_port_range="5:8")
    refuse(404, "PortNotFound", internal_port_id=ZERO)
    refuse(400, "BadRequest", "is not suitable for internal neutron port", internal_ip_address="192.0.2.1",
           internal_port=81)  # fmt: skip
    lonely = alice.port(alice.wired()[0])
    refuse(400, "BadRequest", "is not reachable from subnet", internal_port_id=lonely["id"])
    bound = alice.port(place["network"])
    alice.make("floatingip", floating_network_id=outside["id"], port_id=bound["id"])
    refuse(409, "PortHasBindingFloatingIP", "already has a binding floating IP", internal_port_id=bound["id"])
    bob.refused("POST", place["path"], {"port_forwarding": {
        "protocol": "tcp", "internal_port_id": bound["id"], "internal_port": 1, "external_port": 1}}, 404,
        "FloatingIPNotFound")  # fmt: skip


def test_ranges_and_protocols_become_balancers(cloud: Running, alice: Net, place: Any) -> None:
    forward(alice, place, internal_port=None, internal_port_range="20:22", external_port=None,
            external_port_range="120:122")  # fmt: skip
    made = forward(alice, place, protocol="udp", internal_port=53, external_port=None, external_port_range="53:54")
    assert (made["external_port"], made["internal_port"]) == (None, 53)
    outer = place["floating"]["floating_ip_address"]
    inner = place["port"]["fixed_ips"][0]["ip_address"]
    tcp, udp = rows(cloud, f"floatingip:{place['floating']['id']}", Table.LOAD_BALANCER)
    assert tcp["vips"] == {f"{outer}:12{n}": f"{inner}:2{n}" for n in range(3)}
    assert udp["vips"] == {f"{outer}:53": f"{inner}:53", f"{outer}:54": f"{inner}:53"}
    assert (tcp["protocol"], udp["protocol"]) == ("tcp", "udp")
