"""How a Nic carries a Port: the whole decision as a table."""

from typing import Any

import pytest

from hagane.baremetal.binding import DIRECT, GUARDED, REFUSED, GatewayView, RackView, columns, decide, kind_of

NIC = {"address": "52:54:00:00:00:01", "link": {"switch_id": "52:54:01:00:00:02", "port_id": "bm1-0"}}
SECURE = {"id": "p1", "port_security_enabled": True}
OPEN = {"id": "p1", "port_security_enabled": False}
LIMITED = OPEN | {"qos_policy_id": "q"}
GENEVE = {"id": "n1", "network_type": "geneve", "physical_network": None}
VLAN = {"id": "n2", "network_type": "vlan", "physical_network": "rack1"}
ELSEWHERE = {"id": "n3", "network_type": "vlan", "physical_network": "ext"}
FLAT = {"id": "n4", "network_type": "flat", "physical_network": "rack1"}
GW1, GW2 = GatewayView("gw1", mappings=frozenset({"rack1"})), GatewayView("gw2", mappings=frozenset({"rack1", "ext"}))


def rack(*gateways: GatewayView) -> RackView:
    return RackView("r", "rack1", gateways)


@pytest.mark.parametrize(
    ("port", "network", "gateways", "kind", "gateway"),
    [
        (SECURE, GENEVE, (GW1, GW2), GUARDED, "gw1"),
        (OPEN, GENEVE, (GW1,), GUARDED, "gw1"),  # nobody filters, and the tunnel still begins at the gateway
        (SECURE, VLAN, (GW1,), GUARDED, "gw1"),
        (OPEN, VLAN, (GW1,), DIRECT, "gw1"),
        (OPEN, VLAN, (), DIRECT, ""),
        (LIMITED, VLAN, (GW1,), GUARDED, "gw1"),  # OVN limits, a VLAN does not
        (OPEN, VLAN | {"qos_policy_id": "q"}, (GW1,), GUARDED, "gw1"),
        (LIMITED, VLAN, (), REFUSED, ""),
        (OPEN, FLAT, (GW1,), GUARDED, "gw1"),
        (OPEN, ELSEWHERE, (GW1, GW2), GUARDED, "gw2"),
        (SECURE, ELSEWHERE, (GW1,), REFUSED, ""),
        (SECURE, GENEVE, (GatewayView("gw1", up=False), GW2), GUARDED, "gw2"),
        (SECURE, GENEVE, (GatewayView("gw1", up=False),), GUARDED, "gw1"),  # it may come back
        (SECURE, ELSEWHERE, (GatewayView("gw1"),), GUARDED, "gw1"),  # not known yet what it reaches
        (SECURE, GENEVE, (), REFUSED, ""),
        (SECURE, VLAN, (), REFUSED, ""),
    ],
)
def test_decision(port: Any, network: Any, gateways: Any, kind: str, gateway: str) -> None:
    found = decide(NIC, port, network, rack(*gateways))
    assert (found.kind, found.gateway) == (kind, gateway)
    assert bool(found.reason) == (kind == REFUSED)


def test_a_port_stays_on_its_gateway_while_that_is_up() -> None:
    assert decide(NIC, SECURE, GENEVE, rack(GW1, GW2), current="gw2").gateway == "gw2"
    assert decide(NIC, SECURE, GENEVE, rack(GW1, GatewayView("gw2", up=False)), current="gw2").gateway == "gw1"


@pytest.mark.parametrize(
    ("nic", "there", "says"),
    [
        (NIC | {"link": {}}, rack(GW1), "no Link"),
        (NIC, None, "52:54:01:00:00:02, which no rack has"),
    ],
)
def test_a_refusal_names_its_reason(nic: Any, there: RackView | None, says: str) -> None:
    assert says in decide(nic, SECURE, GENEVE, there).reason


def test_a_refusal_says_what_to_do() -> None:
    assert "Disable port security" in decide(NIC, SECURE, VLAN, rack()).reason
    assert "Take the policy off" in decide(NIC, LIMITED, VLAN, rack()).reason


def test_columns_say_how_and_where() -> None:
    chosen = decide(NIC, SECURE, GENEVE, rack(GW1))
    row = columns(chosen, [NIC["link"]], 1001, "r", before="normal", group="g1")  # type: ignore[list-item]
    assert (row["binding_host_id"], row["binding_vif_details"]["vlan"]) == ("gw1", 1001)
    assert row["binding_profile"]["local_link_information"] == [NIC["link"]]
    assert row["binding_profile"]["local_group_information"]["id"] == "g1"
    assert kind_of(row) == GUARDED
    assert kind_of({"binding_vif_type": "ovs", "binding_vif_details": {}}) == ""
