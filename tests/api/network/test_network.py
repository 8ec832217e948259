"""Networks over HTTP: their attributes, segments, who sees them, and every refusal in the real service's words."""

from typing import Any

import httpx
import pytest

from tests.api.network.net import ZERO, Net, external
from tests.support import Running

OWN = {
    "id", "name", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
    "admin_state_up", "status", "subnets", "shared", "router:external", "is_default", "port_security_enabled", "mtu",
    "dns_domain", "availability_zone_hints", "availability_zones", "ipv4_address_scope", "ipv6_address_scope",
    "qos_policy_id", "vlan_transparent",
}  # fmt: skip
PROVIDER = {"provider:network_type", "provider:physical_network", "provider:segmentation_id"}


def test_a_new_network_is_active_and_has_the_keys_of_the_real_service(alice: Net, root: Net) -> None:
    network = alice.network(name="mine", description="d")
    assert set(network) == OWN
    assert (network["status"], network["mtu"], network["subnets"]) == ("ACTIVE", 1442, [])
    assert network["project_id"] == network["tenant_id"] == alice.project_id
    assert alice.show("network", network) == network
    assert set(root.show("network", network)) == OWN | PROVIDER


def test_segments_are_taken_and_given_back(root: Net) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "rack"}
    first = root.network(**vlan, **{"provider:segmentation_id": 101})
    assert first["mtu"] == 1500
    root.refused("POST", "/networks", {"network": vlan | {"provider:segmentation_id": 101}}, 409, "VlanIdInUse",
                  "The VLAN 101 on physical network rack is in use.")  # fmt: skip
    second = root.network(**vlan)
    assert second["provider:segmentation_id"] not in (None, 101)
    moved = root.change("network", first, **{"provider:segmentation_id": 102})
    assert moved["provider:segmentation_id"] == 102
    third = root.network(**vlan, **{"provider:segmentation_id": 101})
    for network in (first, second, third):
        root.delete("network", network)
    root.network(**vlan, **{"provider:segmentation_id": 102})
    geneve = [root.network()["provider:segmentation_id"] for _ in range(3)]
    assert len(set(geneve)) == 3


PHYSICAL = {"provider:network_type": "flat", "provider:physical_network": "p"}
BAD_SEGMENTS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"provider:network_type": "flat"}, 400, "InvalidInput", "physical_network required for flat provider network"),
    (PHYSICAL | {"provider:segmentation_id": 5}, 400, "InvalidInput",
     "segmentation_id prohibited for flat provider network"),
    ({"provider:network_type": "geneve", "provider:physical_network": "p"}, 400, "InvalidInput", "physical_network"),
    ({"provider:network_type": "geneve", "provider:segmentation_id": 99999999}, 400, "InvalidInput",
     "Segmentation ID should be lower or equal to 16711680"),
    ({"provider:network_type": "vlan", "provider:physical_network": "p", "provider:segmentation_id": 5000}, 400,
     "InvalidInput", "segmentation_id out of range (1 through 4094)"),
    ({"provider:network_type": "bogus"}, 400, "InvalidInput", "network_type value 'bogus' not supported"),
    ({"provider:segmentation_id": 5}, 400, "InvalidInput", "network_type required"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "error", "text"), BAD_SEGMENTS)
def test_segments_that_cannot_be_are_refused(
    root: Net, body: dict[str, Any], status: int, error: str, text: str
) -> None:
    root.refused("POST", "/networks", {"network": body}, status, error, text)


def test_a_flat_network_is_the_only_one_of_its_physical_network(root: Net) -> None:
    flat = {"provider:network_type": "flat", "provider:physical_network": "only"}
    network = root.network(**flat)
    root.refused("POST", "/networks", {"network": flat}, 409, "FlatNetworkInUse", "Physical network only is in use")
    root.delete("network", network)
    root.network(**flat)


BAD_BODIES: list[tuple[Any, str, str]] = [
    (None, "HTTPBadRequest", "Resource body required"),
    ({}, "HTTPBadRequest", "Unable to find 'network' in request body"),
    ([], "HTTPBadRequest", "Body contains invalid data"),
    ({"network": []}, "HTTPBadRequest", "Object 'network' contains invalid data"),
    ({"networks": []}, "HTTPBadRequest", "Resources required"),
    ({"network": {"foo": 1}}, "HTTPBadRequest", "Unrecognized attribute(s) 'foo'"),
    ({"network": {"status": "x"}}, "HTTPBadRequest", "Attribute 'status' not allowed in POST"),
    ({"network": {"name": 7}}, "HTTPBadRequest", "Invalid input for name. Reason: '7' is not a valid string."),
    ({"network": {"name": "x" * 256}}, "HTTPBadRequest", "exceeds maximum length of 255."),
    ({"network": {"admin_state_up": "maybe"}}, "InvalidInput",
     "Invalid input for operation: 'maybe' cannot be converted to boolean."),
    ({"network": {"mtu": -1}}, "HTTPBadRequest", "Invalid input for mtu. Reason: '-1' should be non-negative."),
    ({"network": {"mtu": "abc"}}, "InvalidInput", "'abc' is not an integer"),
    ({"network": {"mtu": 9000}}, "InvalidInput", "Requested MTU is too big, maximum is 1442"),
    ({"network": {"dns_domain": "example.org"}}, "HTTPBadRequest", "'example.org' is not a FQDN"),
    ({"network": {"tenant_id": ZERO}}, "HTTPBadRequest", "Specifying 'project_id' other than the authenticated"),
    ({"network": {"tenant_id": "a", "project_id": "b"}}, "HTTPBadRequest",
     "'project_id' and 'tenant_id' do not match"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error", "text"), BAD_BODIES)
def test_bad_bodies_are_refused_with_the_reason(alice: Net, body: Any, error: str, text: str) -> None:
    alice.refused("POST", "/networks", body, 400, error, text)


def test_attributes_of_administrators_are_refused_to_members(alice: Net) -> None:
    network = alice.network()
    text = "(rule:create_network and rule:create_network:shared) is disallowed by policy"
    assert alice.refused("POST", "/networks", {"network": {"shared": True}}, 403, "PolicyNotAuthorized") == text
    vlan = {"network": {"provider:network_type": "vlan"}}
    alice.refused("POST", "/networks", vlan, 403, "PolicyNotAuthorized", "create_network:provider:network_type")
    path = f"/networks/{network['id']}"
    alice.refused("PUT", path, {"network": {"router:external": True}}, 403, "PolicyNotAuthorized", "router:external")
    alice.refused("PUT", path, {"network": {"status": "x"}}, 400, "HTTPBadRequest",
                  "Cannot update read-only attribute status")  # fmt: skip


def test_a_reader_reads_and_nothing_else(alice: Net, reader: Net) -> None:
    network = alice.network()
    path = f"/networks/{network['id']}"
    assert reader.show("network", network)["id"] == network["id"]
    reader.refused("POST", "/networks", {"network": {}}, 403, "PolicyNotAuthorized",
                   "rule:create_network is disallowed by policy")  # fmt: skip
    reader.refused("PUT", path, {"network": {"name": "x"}}, 403, "PolicyNotAuthorized", "rule:update_network")
    reader.refused("DELETE", path, None, 403, "PolicyNotAuthorized", "rule:delete_network is disallowed by policy")


def test_a_strangers_network_does_not_exist(alice: Net, bob: Net) -> None:
    network = alice.network()
    path, text = f"/networks/{network['id']}", f"Network {network['id']} could not be found."
    for method, body in (("GET", None), ("PUT", {"network": {"name": "x"}}), ("DELETE", None)):
        assert bob.refused(method, path, body, 404, "NetworkNotFound") == text
    assert network["id"] not in {each["id"] for each in bob.get("/networks")["networks"]}
    bob.refused("POST", "/ports", {"port": {"network_id": network["id"]}}, 404, "NetworkNotFound")
    bob.refused("GET", "/networks/no-such-id", None, 404, "NetworkNotFound")


def test_shared_networks_are_seen_and_used_by_all_until_they_are_not_shared(alice: Net, bob: Net, root: Net) -> None:
    network, subnet = alice.wired()
    root.change("network", network, shared=True)
    assert bob.show("network", network)["shared"] is True
    assert bob.show("subnet", subnet)["id"] == subnet["id"]
    port = bob.port(network)
    root.refused("PUT", f"/networks/{network['id']}", {"network": {"shared": False}}, 409, "InvalidSharedSetting",
                  "Multiple projects are using it")  # fmt: skip
    bob.delete("port", port)
    root.change("network", network, shared=False)
    bob.refused("GET", f"/networks/{network['id']}", None, 404, "NetworkNotFound")


def test_external_networks_are_seen_by_all_and_used_by_routers_only(root: Net, bob: Net) -> None:
    network, _ = external(root, "203.0.113.0/24")
    assert bob.show("network", network)["router:external"] is True
    bob.refused("POST", "/ports", {"port": {"network_id": network["id"]}}, 403, "PolicyNotAuthorized")
    assert [n["id"] for n in bob.get("/networks", **{"router:external": True})["networks"]].count(network["id"]) == 1
    router = bob.make("router", external_gateway_info={"network_id": network["id"]})
    root.refused("PUT", f"/networks/{network['id']}", {"network": {"router:external": False}}, 409,
                  "ExternalNetworkInUse", "since it has existing gateway ports")  # fmt: skip
    bob.delete("router", router)
    root.change("network", network, is_default=True)
    root.refused("POST", "/networks", {"network": {"router:external": True, "is_default": True}}, 409,
                  "DefaultExternalNetworkExists", network["id"])  # fmt: skip


def test_a_network_goes_with_its_subnets_but_not_with_ports(alice: Net) -> None:
    network, subnet = alice.wired()
    port = alice.port(network)
    text = f"There are one or more ports still in use on the network, id for these ports is: {port['id']}."
    alice.refused("DELETE", f"/networks/{network['id']}", None, 409, "NetworkInUse", text)
    alice.delete("port", port)
    alice.delete("network", network)
    alice.refused("GET", f"/subnets/{subnet['id']}", None, 404, "SubnetNotFound")
    assert alice.get("/ports", network_id=network["id"])["ports"] == []


def test_bulk_creation_is_all_or_nothing(alice: Net) -> None:
    made = alice.ask("POST", "/networks", {"networks": [{"name": "b1"}, {"network": {"name": "b2"}}]}, 201)
    assert [network["name"] for network in made["networks"]] == ["b1", "b2"]
    alice.refused("POST", "/networks", {"networks": [{"name": "b3"}, {"mtu": 9000}]}, 400, "InvalidInput")
    assert alice.get("/networks", name="b3")["networks"] == []


def test_a_revision_guards_a_change(alice: Net) -> None:
    network = alice.network()
    path, body = f"/networks/{network['id']}", {"network": {"name": "z"}}
    stale = {"If-Match": "revision_number=99"}
    text = "Constrained to 99, but current revision is 1"
    alice.refused("PUT", path, body, 412, "RevisionNumberConstraintFailed", text, headers=stale)
    alice.refused("DELETE", path, None, 412, "RevisionNumberConstraintFailed", headers=stale)
    changed = alice.ask("PUT", path, body, headers={"If-Match": "revision_number=1"})["network"]
    assert changed["revision_number"] == 2
    bad = {"If-Match": "revision_number=x"}
    alice.refused("PUT", path, body, 400, "BadRequest", "Revision number etag must be in the format", headers=bad)


def test_documents_are_the_real_services(alice: Net, cloud: Running) -> None:
    with httpx.Client(base_url=cloud.url) as nobody:
        for path in ("/network", "/network/"):
            versions = nobody.get(path).json()
            link = {"rel": "self", "href": f"{cloud.url}/network/v2.0/"}
            assert versions == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
        missing = nobody.get("/network/v2.0/networks")
        assert missing.status_code == 401
        assert missing.json()["error"]["code"] == 401
    assert [each["name"] for each in alice.get("/")["resources"]] == ["network", "subnet", "subnetpool", "port"]
    aliases = {each["alias"] for each in alice.get("/extensions")["extensions"]}
    assert {"router", "external-net", "security-group", "extraroute", "subnet_allocation", "net-mtu"} <= aliases
    assert not aliases & {"dvr", "metering", "vpnaas", "fwaas_v2", "bgp", "multi-provider"}
    assert alice.get("/extensions/router")["extension"]["alias"] == "router"
    alice.refused("GET", "/nowhere", None, 404, "HTTPNotFound", "The resource could not be found.")
    alice.refused("PATCH", "/networks", {}, 405, "HTTPMethodNotAllowed")


def test_a_network_is_transparent_for_good(alice: Net) -> None:
    plain, clear = alice.network(), alice.network(vlan_transparent="true")
    assert (plain["vlan_transparent"], clear["vlan_transparent"]) == (None, True)
    assert [each["id"] for each in alice.get("/networks", vlan_transparent=True)["networks"]] == [clear["id"]]
    body = {"network": {"vlan_transparent": False}}
    alice.refused("PUT", f"/networks/{clear['id']}", body, 400, "HTTPBadRequest", "read-only attribute")
