"""Routers and floating IPs over HTTP: gateways, interfaces, routes, and what stands for what."""

from typing import Any

import pytest

from tests.api.network.net import ZERO, Net, external


@pytest.fixture(scope="module")
def outside(root: Net) -> tuple[dict[str, Any], dict[str, Any]]:
    return external(root, "203.0.113.0/24")


def attach(net: Net, router: dict[str, Any], **what: str) -> dict[str, Any]:
    return dict(net.ask("PUT", f"/routers/{router['id']}/add_router_interface", what))


def detach(net: Net, router: dict[str, Any], **what: str) -> dict[str, Any]:
    return dict(net.ask("PUT", f"/routers/{router['id']}/remove_router_interface", what))


def test_a_new_router_has_the_keys_of_the_real_service(alice: Net) -> None:
    router = alice.make("router", name="r", admin_state_up=False, external_gateway_info={})
    assert set(router) == {
        "id", "name", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
        "admin_state_up", "status", "external_gateway_info", "enable_snat", "routes", "flavor_id", "availability_zone_hints",
        "availability_zones",
    }  # fmt: skip
    assert (router["status"], router["external_gateway_info"], router["routes"]) == ("ACTIVE", None, [])
    assert alice.change("router", router, name="s", admin_state_up=True)["admin_state_up"] is True
    alice.refused("GET", "/routers/foo", None, 404, "RouterNotFound", "Router foo could not be found")


def test_a_gateway_is_a_port_of_nobodys_project(root: Net, alice: Net, outside: Any) -> None:
    network, subnet = outside
    router = alice.make("router", external_gateway_info={"network_id": network["id"]})
    info = router["external_gateway_info"]
    assert (info["network_id"], info["enable_snat"]) == (network["id"], True)
    [fixed] = info["external_fixed_ips"]
    assert fixed["subnet_id"] == subnet["id"]
    [port] = root.get("/ports", device_id=router["id"])["ports"]
    assert (port["device_owner"], port["project_id"]) == ("network:router_gateway", "")
    assert alice.get("/ports", device_id=router["id"])["ports"] == []
    root.refused("DELETE", f"/ports/{port['id']}", None, 409, "ServicePortInUse",
                 f"Port {port['id']} cannot be deleted directly via the port API: has device owner")  # fmt: skip
    assert alice.change("router", router, external_gateway_info=None)["external_gateway_info"] is None
    assert root.get("/ports", device_id=router["id"])["ports"] == []
    chosen = {"network_id": network["id"], "enable_snat": False,
              "external_fixed_ips": [{"ip_address": "203.0.113.77"}]}  # fmt: skip
    alice.refused("PUT", f"/routers/{router['id']}", {"router": {"external_gateway_info": chosen}}, 403,
                  "PolicyNotAuthorized", "rule:update_router:external_gateway_info:enable_snat")  # fmt: skip
    again = root.change("router", router, external_gateway_info=chosen)["external_gateway_info"]
    assert (again["external_fixed_ips"][0]["ip_address"], again["enable_snat"]) == ("203.0.113.77", False)
    alice.delete("router", router)


def test_gateways_that_cannot_be_are_refused(alice: Net) -> None:
    network, _ = alice.wired()
    path = "/routers"

    def body(network_id: str) -> dict[str, Any]:
        return {"router": {"external_gateway_info": {"network_id": network_id}}}

    alice.refused("POST", path, body(ZERO), 404, "NetworkNotFound")
    alice.refused("POST", path, body(network["id"]), 400, "BadRequest",
                  f"Bad router request: Network {network['id']} is not an external network.")  # fmt: skip
    alice.refused("POST", path, body("x"), 400, "HTTPBadRequest", "'x' is not a valid UUID")
    router = alice.make("router")
    alice.refused("PUT", f"/routers/{router['id']}", body(ZERO), 404, "NetworkNotFound")


def test_interfaces_come_and_go(alice: Net, reader: Net) -> None:
    network, subnet = alice.wired("10.0.0.0/24")
    router, path = alice.make("router"), ""
    path = f"/routers/{router['id']}"
    answer = attach(alice, router, subnet_id=subnet["id"])
    assert set(answer) == {"id", "project_id", "port_id", "network_id", "subnet_id", "subnet_ids"}
    assert (answer["subnet_id"], answer["subnet_ids"]) == (subnet["id"], [subnet["id"]])
    port = alice.show("port", {"id": answer["port_id"]})
    assert (port["device_id"], port["device_owner"]) == (router["id"], "network:router_interface")
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.1"}]
    overlap = alice.subnet(alice.network(), "10.0.0.0/25")
    text = f"Cidr 10.0.0.0/25 of subnet {overlap['id']} overlaps with cidr 10.0.0.0/24 of subnet {subnet['id']}"
    alice.refused("PUT", path + "/add_router_interface", {"subnet_id": overlap["id"]}, 400, "BadRequest", text)
    alice.refused("DELETE", path, None, 409, "RouterInUse", f"has ports still attached: {port['id']}")
    alice.refused("DELETE", f"/ports/{port['id']}", None, 409, "ServicePortInUse")
    reader.refused("PUT", path + "/add_router_interface", {"subnet_id": subnet["id"]}, 403, "PolicyNotAuthorized")
    gone = detach(alice, router, subnet_id=subnet["id"])
    assert gone["port_id"] == port["id"]
    alice.refused("GET", f"/ports/{port['id']}", None, 404, "PortNotFound")
    assert network["id"]
    alice.delete("router", router)


def test_a_port_that_was_made_before_becomes_an_interface(alice: Net) -> None:
    network, subnet = alice.wired()
    router, other = alice.make("router"), alice.make("router")
    bare = alice.port(network, fixed_ips=[])
    path = f"/routers/{router['id']}/add_router_interface"
    alice.refused("PUT", path, {"port_id": bare["id"]}, 400, "BadRequest", "must have at least one fixed IP")
    port = alice.port(network)
    assert attach(alice, router, port_id=port["id"])["subnet_id"] == subnet["id"]
    text = f"Port already has an attached device {router['id']}"
    alice.refused(
        "PUT", f"/routers/{other['id']}/add_router_interface", {"port_id": port["id"]}, 409, "PortInUse", text
    )
    detach(alice, router, port_id=port["id"])
    alice.refused("GET", f"/ports/{port['id']}", None, 404, "PortNotFound")


def test_interfaces_that_cannot_be_are_refused(alice: Net, bob: Net) -> None:
    _, subnet = alice.wired()
    mute = alice.subnet(alice.network(), gateway_ip=None)
    router = alice.make("router")
    add, remove = (f"/routers/{router['id']}/{verb}_router_interface" for verb in ("add", "remove"))
    alice.refused("PUT", add, {}, 400, "BadRequest", "Either subnet_id or port_id must be specified")
    alice.refused("PUT", add, {"subnet_id": "x"}, 400, "BadRequest", "'x' is not a valid UUID")
    alice.refused("PUT", add, {"subnet_id": ZERO, "port_id": ZERO}, 400, "BadRequest", "Cannot specify both")
    alice.refused("PUT", add, {"subnet_id": ZERO}, 404, "SubnetNotFound")
    alice.refused("PUT", add, {"port_id": ZERO}, 404, "PortNotFound")
    alice.refused("PUT", add, {"subnet_id": mute["id"]}, 400, "BadRequest", "must have a gateway IP")
    alice.refused("PUT", remove, {"subnet_id": subnet["id"]}, 404, "RouterInterfaceNotFoundForSubnet")
    alice.refused("PUT", remove, {"port_id": ZERO}, 404, "RouterInterfaceNotFound")
    bob.refused("PUT", add, {"subnet_id": subnet["id"]}, 404, "RouterNotFound")


def test_routes_lead_to_neighbours(alice: Net) -> None:
    _, subnet = alice.wired("10.1.0.0/24")
    router = alice.make("router")
    attach(alice, router, subnet_id=subnet["id"])
    path = f"/routers/{router['id']}"
    routes = [{"destination": f"20.{i}.0.0/16", "nexthop": "10.1.0.9"} for i in range(4)]
    changed = alice.change("router", router, routes=routes)
    assert changed["routes"] == routes

    def refuse(destination: str, nexthop: str, error: str, text: str) -> None:
        body = {"router": {"routes": [{"destination": destination, "nexthop": nexthop}]}}
        alice.refused("PUT", path, body, 400, error, text)

    refuse("20.0.0.0/8", "99.0.0.1", "InvalidRoutes", "the nexthop is not connected with router")
    refuse("20.0.0.0/8", "10.1.0.1", "InvalidRoutes", "the nexthop is used by router")
    refuse("x", "10.1.0.9", "HTTPBadRequest", "'x' is not a valid CIDR")
    more = {"router": {"routes": [{"destination": "30.0.0.0/8", "nexthop": "10.1.0.9"}]}}
    assert len(alice.ask("PUT", path + "/add_extraroutes", more)["router"]["routes"]) == 5
    assert len(alice.ask("PUT", path + "/add_extraroutes", more)["router"]["routes"]) == 5
    alice.refused("PUT", path + "/remove_router_interface", {"subnet_id": subnet["id"]}, 409,
                  "RouterInterfaceInUseByRoute", "as it is required by one or more routes")  # fmt: skip
    assert alice.ask("PUT", path + "/remove_extraroutes", more)["router"]["routes"] == routes
    assert alice.change("router", router, routes=None)["routes"] == []
    detach(alice, router, subnet_id=subnet["id"])


@pytest.fixture
def inside(alice: Net, outside: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A network with a subnet, and a router that leads from it outside."""
    network, subnet = alice.wired()
    router = alice.make("router", external_gateway_info={"network_id": outside[0]["id"]})
    attach(alice, router, subnet_id=subnet["id"])
    return network, subnet, router


def test_a_floating_ip_stands_for_a_port(alice: Net, root: Net, outside: Any, inside: Any) -> None:
    network, subnet, router = inside
    floating = alice.make("floatingip", floating_network_id=outside[0]["id"])
    assert set(floating) == {
        "id", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
        "floating_ip_address", "floating_network_id", "router_id", "port_id", "fixed_ip_address", "status",
        "port_details", "port_forwardings", "qos_policy_id", "dns_name", "dns_domain",
    }  # fmt: skip
    assert (floating["status"], floating["port_id"], floating["port_details"]) == ("DOWN", None, None)
    port = alice.port(network, name="p")
    linked = alice.change("floatingip", floating, port_id=port["id"])
    assert (linked["status"], linked["router_id"]) == ("ACTIVE", router["id"])
    assert linked["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert linked["port_details"]["name"] == "p"
    [holder] = root.get("/ports", device_id=floating["id"])["ports"]
    assert (holder["device_owner"], holder["status"]) == ("network:floatingip", "N/A")
    path = f"/routers/{router['id']}"
    alice.refused("PUT", path + "/remove_router_interface", {"subnet_id": subnet["id"]}, 409,
                  "RouterInterfaceInUseByFloatingIP")  # fmt: skip
    alice.refused("PUT", path, {"router": {"external_gateway_info": {}}}, 409,
                  "RouterExternalGatewayInUseByFloatingIp")  # fmt: skip
    alice.refused("PUT", f"/ports/{port['id']}", {"port": {"fixed_ips": []}}, 400, "BadRequest",
                  "because its original fixed_ip has been associated to a floating ip")  # fmt: skip
    assert alice.change("floatingip", floating, description="d")["port_id"] == port["id"]
    assert alice.change("floatingip", floating)["port_id"] is None  # no change at all is the old way to free it
    alice.change("floatingip", floating, port_id=port["id"])
    other = alice.make("floatingip", floating_network_id=outside[0]["id"])
    alice.refused("PUT", f"/floatingips/{other['id']}", {"floatingip": {"port_id": port["id"]}}, 409,
                  "FloatingIPPortAlreadyAssociated", "already has a floating IP on external network")  # fmt: skip
    alice.delete("port", port)
    freed = alice.show("floatingip", floating)
    assert (freed["status"], freed["port_id"], freed["router_id"]) == ("DOWN", None, None)
    alice.delete("floatingip", floating)
    assert root.get("/ports", device_id=floating["id"])["ports"] == []


def test_one_of_many_addresses_has_to_be_named(alice: Net, outside: Any, inside: Any) -> None:
    network, subnet, _ = inside
    port = alice.port(network, fixed_ips=[{"subnet_id": subnet["id"]}, {"subnet_id": subnet["id"]}])
    wanted = {"floating_network_id": outside[0]["id"], "port_id": port["id"]}
    alice.refused("POST", "/floatingips", {"floatingip": wanted}, 400, "BadRequest",
                  "has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address")  # fmt: skip
    second = port["fixed_ips"][1]["ip_address"]
    floating = alice.make("floatingip", **wanted, fixed_ip_address=second)
    assert floating["fixed_ip_address"] == second
    alice.refused("PUT", f"/floatingips/{floating['id']}",
                  {"floatingip": {"port_id": port["id"], "fixed_ip_address": "10.99.0.1"}}, 400, "BadRequest",
                  f"Port {port['id']} does not have fixed ip 10.99.0.1")  # fmt: skip


def test_floating_ips_that_cannot_be_are_refused(alice: Net, bob: Net, root: Net, outside: Any) -> None:
    network, _ = alice.wired()
    path, outer = "/floatingips", outside[0]["id"]

    def refuse(status: int, error: str, text: str = "", **values: Any) -> None:
        body = {"floatingip": {"floating_network_id": outer} | values}
        alice.refused("POST", path, body, status, error, text)

    refuse(404, "NetworkNotFound", floating_network_id=ZERO)
    refuse(400, "BadRequest", "is not a valid external network", floating_network_id=network["id"])
    refuse(404, "PortNotFound", port_id=ZERO)
    refuse(400, "BadRequest", "fixed_ip_address cannot be specified without a port_id", fixed_ip_address="10.0.0.9")
    refuse(403, "PolicyNotAuthorized", "create_floatingip:floating_ip_address", floating_ip_address="203.0.113.99")
    port = alice.port(network)
    refuse(404, "ExternalGatewayForFloatingIPNotFound", "is not reachable from subnet", port_id=port["id"])
    before = len(root.get("/ports", device_owner="network:floatingip")["ports"])
    refuse(404, "ExternalGatewayForFloatingIPNotFound", port_id=port["id"])
    assert len(root.get("/ports", device_owner="network:floatingip")["ports"]) == before, "nothing half-made is left"
    chosen = root.make("floatingip", floating_network_id=outer, floating_ip_address="203.0.113.99")
    assert chosen["floating_ip_address"] == "203.0.113.99"
    bob.refused("GET", f"{path}/{chosen['id']}", None, 404, "FloatingIPNotFound")
    empty = root.make("network", **{"router:external": True})
    refuse(400, "BadRequest", "does not contain any IPv4 subnet", floating_network_id=empty["id"])


def test_an_external_network_runs_out_of_addresses(alice: Net, root: Net) -> None:
    network, _ = external(root, "198.51.100.0/30")
    alice.make("floatingip", floating_network_id=network["id"])
    body = {"floatingip": {"floating_network_id": network["id"]}}
    alice.refused("POST", "/floatingips", body, 400, "ExternalIpAddressExhausted",
                  f"Unable to find any IP address on external network {network['id']}.")  # fmt: skip


def test_an_external_network_takes_free_floating_ips_with_it(alice: Net, bob: Net, root: Net) -> None:
    network, _ = external(root, "198.51.100.64/26")
    free, used = (alice.make("floatingip", floating_network_id=network["id"]) for _ in range(2))
    inside, subnet = alice.wired()
    router = alice.make("router", external_gateway_info={"network_id": network["id"]})
    attach(alice, router, subnet_id=subnet["id"])
    alice.change("floatingip", used, port_id=alice.port(inside)["id"])
    root.refused("DELETE", f"/networks/{network['id']}", None, 409, "NetworkInUse")
    assert alice.show("floatingip", free)["status"] == "DOWN"
    alice.delete("floatingip", used)
    alice.change("router", router, external_gateway_info={})
    detach(alice, router, subnet_id=subnet["id"])
    alice.delete("router", router)
    root.delete("network", network)
    alice.refused("GET", f"/floatingips/{free['id']}", None, 404, "FloatingIPNotFound")


def test_one_port_announces_all_ipv6_prefixes_of_a_network(alice: Net) -> None:
    network = alice.network()
    slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    one, two = (alice.subnet(network, f"fd00:{n}::/64", **slaac) for n in (10, 11))
    router = alice.make("router")
    first, second = (attach(alice, router, subnet_id=subnet["id"]) for subnet in (one, two))
    assert first["port_id"] == second["port_id"]
    port = {"id": first["port_id"]}
    assert [f["ip_address"] for f in alice.show("port", port)["fixed_ips"]] == ["fd00:10::", "fd00:11::"]
    detach(alice, router, subnet_id=one["id"])
    assert [f["subnet_id"] for f in alice.show("port", port)["fixed_ips"]] == [two["id"]]
    detach(alice, router, subnet_id=two["id"])
    alice.refused("GET", f"/ports/{port['id']}", None, 404, "PortNotFound")


def test_a_gateway_gets_an_address_of_each_ip_version(alice: Net, root: Net) -> None:
    network, _ = external(root, "192.0.2.0/24")
    router = alice.make("router", external_gateway_info={"network_id": network["id"]})
    six = root.subnet(network, "2001:db8::/64", enable_dhcp=False)
    root.subnet(network, "198.18.0.0/24", enable_dhcp=False)
    fixed = alice.show("router", router)["external_gateway_info"]["external_fixed_ips"]
    assert [entry["ip_address"] for entry in fixed] == ["192.0.2.2", "2001:db8::1"]
    assert fixed[1]["subnet_id"] == six["id"]
    assert root.get("/ports", device_id=router["id"])["ports"][0]["fixed_ips"] == fixed


def test_pools_of_floating_ips_are_what_external_networks_have_of_ipv4(root: Net, bob: Net) -> None:
    network, subnet = external(root, "10.244.0.0/24")
    root.subnet(network, "fd00:244::/64")
    for path in ("/floatingip_pools", "/floatingip-pools"):
        [pool] = bob.get(path, network_id=network["id"])["floatingip_pools"]
        assert pool == {"subnet_id": subnet["id"], "subnet_name": "", "network_id": network["id"],
                        "cidr": "10.244.0.0/24", "project_id": bob.project_id, "tenant_id": bob.project_id}  # fmt: skip
    floating = bob.make("floatingip", floating_network_id=network["id"], subnet_id=pool["subnet_id"])
    assert floating["floating_ip_address"].startswith("10.244.0.")


def test_every_router_fails_over(root: Net, bob: Net) -> None:
    router = bob.make("router", name="r")
    assert root.show("router", router)["ha"] is True
    assert "ha" not in bob.show("router", router)
    text = "ha cannot be false"
    root.refused("PUT", f"/routers/{router['id']}", {"router": {"ha": False}}, 400, "HTTPBadRequest", text)
    assert root.make("router", name="r", ha=True)["ha"] is True


def test_a_floating_ip_takes_the_router_that_is_asked_for(root: Net, bob: Net) -> None:
    """Behind two routers: the outer one translates, as only it has a gateway; it is not found by itself."""
    outside, _ = external(root, "10.245.0.0/24")
    (inner_net, inner_subnet), (transit, transit_subnet) = bob.wired(), bob.wired()
    inner, outer = bob.make("router", name="in"), bob.make("router", name="out")
    for router, subnet in ((inner, inner_subnet), (outer, transit_subnet)):
        bob.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    more = bob.port(transit)
    bob.ask("PUT", f"/routers/{inner['id']}/add_router_interface", {"port_id": more["id"]})
    port = bob.port(inner_net)
    wanted = {"floating_network_id": outside["id"], "port_id": port["id"]}
    chosen = {"floatingip": wanted | {"router_id": outer["id"]}}
    text = f"Router {outer['id']} has no external gateway on network {outside['id']}."
    bob.refused("POST", "/floatingips", chosen, 409, "Conflict", text)
    bob.change("router", outer, external_gateway_info={"network_id": outside["id"]})
    bob.refused("POST", "/floatingips", {"floatingip": wanted}, 404, "ExternalGatewayForFloatingIPNotFound")
    bob.refused("POST", "/floatingips", {"floatingip": wanted | {"router_id": ZERO}}, 404, "RouterNotFound")
    floating = bob.ask("POST", "/floatingips", chosen, 201)["floatingip"]
    assert (floating["router_id"], floating["fixed_ip_address"], floating["status"]) == (
        outer["id"], port["fixed_ips"][0]["ip_address"], "ACTIVE")  # fmt: skip
    assert bob.change("floatingip", floating, description="d")["router_id"] == outer["id"]
    assert bob.change("floatingip", floating, port_id=None)["router_id"] is None
    again = bob.change("floatingip", floating, port_id=port["id"], router_id=outer["id"])
    assert bob.change("floatingip", again, router_id=outer["id"])["port_id"] == port["id"]
