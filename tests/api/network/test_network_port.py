"""Ports over HTTP: addresses, MAC addresses, security, binding, names; and every refusal in the real service's words."""

from typing import Any

import pytest

from tests.api.network.net import ZERO, Net

OWN = {
    "id", "name", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at",
    "network_id", "admin_state_up", "status", "mac_address", "fixed_ips", "device_id", "device_owner",
    "security_groups", "allowed_address_pairs", "extra_dhcp_opts", "port_security_enabled", "binding:vnic_type",
    "ip_allocation", "dns_name", "dns_domain", "dns_assignment", "propagate_uplink_status", "qos_policy_id",
}  # fmt: skip
BINDING = {"binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details"}


@pytest.fixture(scope="module")
def wired(alice: Net) -> tuple[dict[str, Any], dict[str, Any]]:
    return alice.wired("10.0.0.0/24")


def test_a_new_port_has_the_keys_of_the_real_service(alice: Net, root: Net, wired: Any) -> None:
    network, subnet = wired
    port = alice.port(network, name="p")
    assert set(port) == OWN
    [fixed] = port["fixed_ips"]
    assert fixed["subnet_id"] == subnet["id"]
    assert port["mac_address"].startswith("fa:16:3e:")
    assert (port["status"], port["device_id"], port["device_owner"]) == ("DOWN", "", "")
    [group] = alice.get("/security-groups", name="default")["security_groups"]
    assert port["security_groups"] == [group["id"]]
    host = f"host-{fixed['ip_address'].replace('.', '-')}"
    assert port["dns_assignment"] == [
        {"ip_address": fixed["ip_address"], "hostname": host, "fqdn": f"{host}.openstacklocal."}
    ]
    assert alice.show("port", port) == port
    seen = root.show("port", port)
    assert set(seen) == OWN | BINDING
    assert (seen["binding:host_id"], seen["binding:vif_type"], seen["binding:profile"]) == ("", "unbound", {})


def test_a_network_without_subnets_gives_ports_without_addresses(alice: Net) -> None:
    port = alice.port(alice.network())
    assert port["fixed_ips"] == []
    assert len(port["security_groups"]) == 1


def test_addresses_may_be_chosen(alice: Net, wired: Any) -> None:
    network, subnet = wired
    first = alice.port(network, fixed_ips=[{"ip_address": "10.0.0.50"}])
    assert first["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.50"}]
    body = {"port": {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.0.0.50"}]}}
    text = f"IP address 10.0.0.50 already allocated in subnet {subnet['id']}"
    alice.refused("POST", "/ports", body, 409, "IpAddressAlreadyAllocated", text)
    both = alice.port(network, fixed_ips=[{"ip_address": "10.0.0.51"}, {"subnet_id": subnet["id"]}])
    assert len(both["fixed_ips"]) == 2
    bare = alice.port(network, fixed_ips=[])
    assert (bare["fixed_ips"], bare["ip_allocation"]) == ([], "none")
    assert alice.port(network)["ip_allocation"] == "immediate"


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"fixed_ips": [{"ip_address": "10.0.0.0"}]}, 400, "InvalidIpForNetwork", "IP address 10.0.0.0 is not a valid IP"),
    ({"fixed_ips": [{"ip_address": "99.0.0.5"}]}, 400, "InvalidIpForNetwork",
     "IP address 99.0.0.5 is not a valid IP for any of the subnets on the specified network."),
    ({"fixed_ips": [{"subnet_id": ZERO}]}, 404, "SubnetNotFound", f"Subnet {ZERO} could not be found."),
    ({"fixed_ips": [{"subnet_id": "x"}]}, 400, "HTTPBadRequest", "'x' is not a valid UUID"),
    ({"fixed_ips": [{}]}, 400, "InvalidInput", "IP allocation requires subnet_id or ip_address"),
    ({"fixed_ips": "x"}, 400, "HTTPBadRequest", "Invalid data format for fixed IP: 'x'"),
    ({"fixed_ips": [{"ip_address": "10.0.0.60"}, {"ip_address": "10.0.0.60"}]}, 400, "HTTPBadRequest",
     "Duplicate IP address '10.0.0.60'"),
    ({"mac_address": "bogus"}, 400, "HTTPBadRequest", "'bogus' is not a valid MAC address"),
    ({"mac_address": "00:00:00:00:00:00"}, 400, "HTTPBadRequest", "is not a valid MAC address"),
    ({"security_groups": [ZERO]}, 404, "SecurityGroupNotFound", f"Security group {ZERO} does not exist"),
    ({"security_groups": ["x"]}, 400, "HTTPBadRequest", "'x' is not a valid UUID"),
    ({"port_security_enabled": False, "allowed_address_pairs": [{"ip_address": "1.2.3.4"}]}, 409,
     "AddressPairAndPortSecurityRequired", "Port Security must be enabled"),
    ({"allowed_address_pairs": [{"mac_address": "02:00:00:00:00:99"}]}, 400, "AllowedAddressPairsMissingIP", ""),
    ({"allowed_address_pairs": [{"ip_address": "1.2.3.4"}, {"ip_address": "1.2.3.4"}]}, 400,
     "DuplicateAddressPairInRequest", "duplicate address pair: mac_address None ip_address 1.2.3.4"),
    ({"allowed_address_pairs": [{"ip_address": "1.2.3.4", "foo": 1}]}, 400, "HTTPBadRequest",
     "Unrecognized attribute(s) 'foo'"),
    ({"allowed_address_pairs": [{"ip_address": f"1.2.3.{i}"} for i in range(11)]}, 400, "AllowedAddressPairExhausted",
     "The number of allowed address pair exceeds the maximum 10."),
    ({"extra_dhcp_opts": [{"opt_name": "a"}]}, 400, "InvalidInput", "No valid key specs matched for"),
    ({"binding:vnic_type": "bogus"}, 400, "HTTPBadRequest", "bogus is not in valid_values"),
    ({"binding:host_id": "h"}, 403, "PolicyNotAuthorized", "create_port:binding:host_id"),
    ({"dns_name": "-foo"}, 400, "HTTPBadRequest", "must not start or end with a hyphen"),
    ({"status": "ACTIVE"}, 400, "HTTPBadRequest", "Attribute 'status' not allowed in POST"),
    ({"network_id": ZERO}, 404, "NetworkNotFound", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "error", "text"), BAD)
def test_what_cannot_be_is_refused(
    alice: Net, wired: Any, body: dict[str, Any], status: int, error: str, text: str
) -> None:
    alice.refused("POST", "/ports", {"port": {"network_id": wired[0]["id"]} | body}, status, error, text)


def test_no_two_ports_of_a_network_share_a_mac_address(alice: Net, wired: Any) -> None:
    network, _ = wired
    port = alice.port(network, mac_address="02-00-00-00-00-0A")
    assert port["mac_address"] == "02:00:00:00:00:0a"
    body = {"port": {"network_id": network["id"], "mac_address": "02:00:00:00:00:0a"}}
    alice.refused("POST", "/ports", body, 409, "MacAddressInUse", "The mac address 02:00:00:00:00:0a is in use.")
    other, _ = alice.wired()
    alice.port(other, mac_address="02:00:00:00:00:0a")


def test_addresses_are_changed_kept_and_given_back(alice: Net, wired: Any) -> None:
    network, subnet = wired
    port = alice.port(network, fixed_ips=[{"ip_address": "10.0.0.70"}])
    moved = alice.change("port", port, fixed_ips=[{"ip_address": "10.0.0.71"}])
    assert [fixed["ip_address"] for fixed in moved["fixed_ips"]] == ["10.0.0.71"]
    assert moved["dns_assignment"][0]["hostname"] == "host-10-0-0-71"
    same = alice.change("port", port, fixed_ips=[{"subnet_id": subnet["id"]}])
    assert same["fixed_ips"] == moved["fixed_ips"], "any address of the subnet is asked for, and there is one"
    alice.port(network, fixed_ips=[{"ip_address": "10.0.0.70"}])
    taken = {"port": {"fixed_ips": [{"ip_address": "10.0.0.70"}]}}
    alice.refused("PUT", f"/ports/{port['id']}", taken, 409, "IpAddressAlreadyAllocated")
    assert alice.show("port", port)["fixed_ips"] == moved["fixed_ips"]
    assert alice.change("port", port, fixed_ips=[])["fixed_ips"] == []
    alice.port(network, fixed_ips=[{"ip_address": "10.0.0.71"}])


def test_security_is_never_silently_without_effect(alice: Net, bob: Net, wired: Any) -> None:
    network, _ = wired
    mine, theirs = alice.make("security_group", name="web"), bob.make("security_group", name="web")
    port = alice.port(network, security_groups=[mine["id"]])
    path = f"/ports/{port['id']}"
    assert [each["id"] for each in alice.get("/ports", security_groups=mine["id"])["ports"]] == [port["id"]]
    alice.refused("PUT", path, {"port": {"security_groups": [theirs["id"]]}}, 404, "SecurityGroupNotFound")
    alice.refused("PUT", path, {"port": {"port_security_enabled": False}}, 409, "PortSecurityPortHasSecurityGroup")
    alice.refused("DELETE", f"/security-groups/{mine['id']}", None, 409, "SecurityGroupInUse")
    bare = alice.change("port", port, port_security_enabled=False, security_groups=[])
    assert (bare["port_security_enabled"], bare["security_groups"]) == (False, [])
    alice.refused("PUT", path, {"port": {"security_groups": [mine["id"]]}}, 400,
                  "PortSecurityAndIPRequiredForSecurityGroups")  # fmt: skip
    alice.delete("security_group", mine)
    assert alice.port(network, port_security_enabled=False)["security_groups"] == []
    assert alice.port(network, security_groups=[])["security_groups"] == []


def test_address_pairs_get_the_ports_own_mac_address(alice: Net, wired: Any) -> None:
    port = alice.port(wired[0], allowed_address_pairs=[{"ip_address": "1.2.3.4"}, {"ip_address": "1.2.0.0/16"}])
    assert port["allowed_address_pairs"] == [
        {"mac_address": port["mac_address"], "ip_address": "1.2.3.4"},
        {"mac_address": port["mac_address"], "ip_address": "1.2.0.0/16"},
    ]
    assert alice.change("port", port, allowed_address_pairs=[])["allowed_address_pairs"] == []


def test_dhcp_options_are_changed_one_by_one(alice: Net, wired: Any) -> None:
    port = alice.port(wired[0], extra_dhcp_opts=[{"opt_name": "bootfile-name", "opt_value": "x"}])
    assert port["extra_dhcp_opts"] == [{"opt_name": "bootfile-name", "opt_value": "x", "ip_version": 4}]
    options = [{"opt_name": "bootfile-name", "opt_value": None}, {"opt_name": "tftp-server", "opt_value": "1.1.1.1"}]
    assert alice.change("port", port, extra_dhcp_opts=options)["extra_dhcp_opts"] == [
        {"opt_name": "tftp-server", "opt_value": "1.1.1.1", "ip_version": 4}
    ]


def test_a_name_is_told_to_dns(root: Net, alice: Net) -> None:
    network = alice.network(dns_domain="example.org.")
    alice.subnet(network, "10.9.0.0/24")
    port = alice.port(network, dns_name="Web", fixed_ips=[{"ip_address": "10.9.0.5"}])
    assert port["dns_name"] == "web"
    assert port["dns_assignment"] == [{"ip_address": "10.9.0.5", "hostname": "web", "fqdn": "web.example.org."}]
    own = alice.change("port", port, dns_domain="mine.example.")
    assert (own["dns_domain"], own["dns_assignment"][0]["fqdn"]) == ("mine.example.", "web.mine.example.")
    assert alice.change("port", port, dns_domain="")["dns_assignment"][0]["fqdn"] == "web.example.org."
    guest = root.port(network, dns_name="bank", dns_domain="test.")  # on a network of somebody else's
    assert guest["dns_assignment"][0]["fqdn"] == "bank.example.org."


def test_administrators_bind_ports_to_hosts(root: Net, alice: Net, wired: Any) -> None:
    port = alice.port(wired[0])
    bound = root.change("port", port, **{"binding:host_id": "h1"})
    assert (bound["binding:host_id"], bound["binding:vif_type"]) == ("h1", "ovs")
    assert bound["binding:vif_details"]["port_filter"] is True
    free = root.change("port", port, **{"binding:host_id": None})
    assert (free["binding:host_id"], free["binding:vif_type"], free["binding:vif_details"]) == ("", "unbound", {})
    alice.refused("PUT", f"/ports/{port['id']}", {"port": {"binding:host_id": "h"}}, 403, "PolicyNotAuthorized")


def test_members_do_not_remove_ports_of_machines(root: Net, alice: Net, wired: Any) -> None:
    port = alice.port(wired[0], device_owner="compute:nova", device_id="m")
    alice.refused("DELETE", f"/ports/{port['id']}", None, 403, "PolicyNotAuthorized", "rule:delete_port is disallowed")
    root.delete("port", port)


def test_bulk_creation_is_all_or_nothing(alice: Net, wired: Any) -> None:
    network, _ = wired
    two = [{"network_id": network["id"], "name": name} for name in ("b1", "b2")]
    made = alice.ask("POST", "/ports", {"ports": two}, 201)["ports"]
    assert [port["name"] for port in made] == ["b1", "b2"]
    bad = [{"network_id": network["id"], "name": "b3"}, {"network_id": ZERO}]
    alice.refused("POST", "/ports", {"ports": bad}, 404, "NetworkNotFound")
    assert alice.get("/ports", name="b3")["ports"] == []


def test_strangers_get_no_port(alice: Net, bob: Net, reader: Net, wired: Any) -> None:
    port = alice.port(wired[0])
    path = f"/ports/{port['id']}"
    for method, body in (("GET", None), ("PUT", {"port": {"name": "x"}}), ("DELETE", None)):
        bob.refused(method, path, body, 404, "PortNotFound", f"Port {port['id']} could not be found.")
    reader.refused("DELETE", path, None, 403, "PolicyNotAuthorized")
    assert reader.show("port", port)["id"] == port["id"]


def test_lists_are_filtered(alice: Net) -> None:
    network, subnet = alice.wired("10.10.0.0/24")
    other = alice.subnet(network, "10.11.0.0/24")
    first = alice.port(network, name="f1", fixed_ips=[{"ip_address": "10.10.0.61"}], description="D")
    second = alice.port(network, name="f2", fixed_ips=[{"ip_address": "10.11.0.62"}], admin_state_up=False)

    def found(**query: Any) -> list[str]:
        ports = alice.get("/ports", network_id=network["id"], fields="id", **query)["ports"]
        assert all(set(port) == {"id"} for port in ports)
        return [port["id"] for port in ports]

    one, two = first["id"], second["id"]
    assert found(fixed_ips="ip_address=10.10.0.61") == [one]
    assert set(found(fixed_ips=["ip_address=10.10.0.61", "ip_address=10.11.0.62"])) == {one, two}
    assert found(fixed_ips=["ip_address=10.10.0.61", f"subnet_id={other['id']}"]) == []
    assert two in found(fixed_ips=f"subnet_id={other['id']}") and one not in found(fixed_ips=f"subnet_id={other['id']}")
    assert found(fixed_ips="ip_address_substr=.0.6") == [one, two]
    assert found(mac_address=first["mac_address"]) == [one]
    assert found(admin_state_up="False") == [two]
    assert found(description="D") == [one]
    assert found(security_groups=first["security_groups"][0]) == [one, two]
    assert set(found(id=[one, two])) == {one, two}
    assert found(name="f2", status="DOWN") == [two]
    assert found(project_id="nobody") == []
    alice.refused("GET", "/ports", None, 400, "InvalidInput", "is not of the form", params={"fixed_ips": "bogus"})
    text = "['foo'] is invalid attribute for filtering"
    alice.refused("GET", "/ports", None, 400, "HTTPBadRequest", text, params={"foo": "1"})
    assert subnet["id"]


def test_a_port_gets_a_new_mac_address_of_the_services_choice(root: Net, alice: Net) -> None:
    network, _ = alice.wired("fd00:7::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    port = alice.port(network)
    body = {"port": {"mac_address": None}}
    alice.refused("PUT", f"/ports/{port['id']}", body, 403, "PolicyNotAuthorized", "update_port:mac_address")
    moved = root.change("port", port, mac_address=None)
    assert moved["mac_address"] not in (None, port["mac_address"])
    assert moved["fixed_ips"] != port["fixed_ips"]  # its automatic address follows
