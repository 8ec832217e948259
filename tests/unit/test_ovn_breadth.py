"""Port forwardings, QoS and subports to OVN rows: pure functions, checked by their results."""

from typing import Any

import pytest

from hagane.reconcile.ovn import acl_log, dns, forward, group, port, qos, switch
from tests.unit.test_ovn_compile import NETWORK, PORT, SUBNET

FLOATING = {"id": "f1", "floating_ip_address": "203.0.113.9", "floating_network_id": "x1", "router_id": "r1"}
PHYSICAL = NETWORK | {"network_type": "vlan", "physical_network": "ext"}


def forwarding(outer: str, inner: str, protocol: str = "tcp") -> dict[str, Any]:
    return {"external_port_range": outer, "internal_port_range": inner, "protocol": protocol,
            "internal_ip_address": "10.0.0.5"}  # fmt: skip


def rule(kind: str, direction: str | None = "egress", **values: int) -> dict[str, Any]:
    empty = dict.fromkeys(("max_kbps", "max_burst_kbps", "min_kbps", "dscp_mark"))
    return empty | {"id": kind, "type": kind, "direction": direction} | values


def test_forwardings_of_a_protocol_are_one_balancer() -> None:
    rows = [forwarding("80:80", "8080:8080"), forwarding("90:92", "190:192"), forwarding("53:54", "53:53", "udp")]
    tcp, udp = forward.forwards(FLOATING, rows, ["n2", "n1", "n2"])
    assert (tcp.table, tcp.key) == ("Load_Balancer", "floatingip:f1/forward:tcp")
    assert tcp.columns["vips"] == {
        "203.0.113.9:80": "10.0.0.5:8080", "203.0.113.9:90": "10.0.0.5:190", "203.0.113.9:91": "10.0.0.5:191",
        "203.0.113.9:92": "10.0.0.5:192",
    }  # fmt: skip
    assert udp.columns["vips"] == {"203.0.113.9:53": "10.0.0.5:53", "203.0.113.9:54": "10.0.0.5:53"}
    assert dict(tcp.member_of) == {
        ("Logical_Router", "load_balancer"): ["router:r1"],
        ("Logical_Switch", "load_balancer"): ["network:n1", "network:n2"],
    }
    assert forward.forwards(FLOATING | {"router_id": None}, rows, ["n1"]) == []
    assert forward.forwards(FLOATING, [], ["n1"]) == []


def test_a_limit_and_a_mark_of_one_direction_are_one_row() -> None:
    rules = [rule("bandwidth_limit", max_kbps=100, max_burst_kbps=10), rule("dscp_marking", None, dscp_mark=0)]
    [egress] = qos.port("port:p1", PORT, NETWORK, rules)
    assert (egress.key, egress.parent) == ("port:p1/qos:egress", ("Logical_Switch", "network:n1", "qos_rules"))
    assert egress.columns == {
        "direction": "from-lport", "priority": 2002, "match": 'inport == "p1"',
        "bandwidth": {"rate": 100, "burst": 10}, "action": {"dscp": 0},
    }  # fmt: skip
    [ingress] = qos.port("port:p1", PORT, NETWORK, [rule("bandwidth_limit", "ingress", max_kbps=7, max_burst_kbps=0)])
    assert (ingress.columns["match"], ingress.columns["bandwidth"]) == ('outport == "p1"', {"rate": 7})
    assert ingress.columns["direction"] == "to-lport"
    assert qos.port("port:p1", PORT, NETWORK, [rule("bandwidth_limit", max_kbps=0, max_burst_kbps=0)]) == []


def test_a_guarantee_is_a_queue_of_a_physical_network() -> None:
    rules = [rule("bandwidth_limit", max_kbps=100, max_burst_kbps=10), rule("minimum_bandwidth", min_kbps=50)]
    assert qos.options(PHYSICAL, rules) == {"qos_min_rate": "50000", "qos_max_rate": "100000", "qos_burst": "10000"}
    assert qos.port("port:p1", PORT, PHYSICAL, rules) == []
    assert qos.options(NETWORK, rules) == {}
    assert len(qos.port("port:p1", PORT, NETWORK, rules)) == 1
    ingress = [rule("minimum_bandwidth", "ingress", min_kbps=50)]
    assert (qos.options(PHYSICAL, ingress), qos.port("port:p1", PORT, PHYSICAL, ingress)) == ({}, [])


def test_a_floating_ip_is_limited_at_its_gateway() -> None:
    [row] = qos.floating("floatingip:f1", FLOATING, "g1", [rule("bandwidth_limit", "ingress", max_kbps=5)])
    assert row.parent == ("Logical_Switch", "network:x1", "qos_rules")
    assert row.columns["match"] == 'outport == "g1" && ip4.dst == 203.0.113.9 && is_chassis_resident("cr-lrp-g1")'
    assert row.columns["priority"] == 2003


def test_the_nearest_policy_counts() -> None:
    network = {"qos_policy_id": "n"}
    assert qos.effective({"qos_policy_id": "p", "device_owner": ""}, network) == "p"
    assert qos.effective({"qos_policy_id": None, "device_owner": "compute:nova"}, network) == "n"
    assert qos.effective({"qos_policy_id": None, "device_owner": "network:router_interface"}, network) is None
    assert qos.effective({"qos_policy_id": "p", "device_owner": "network:router_interface"}, network) == "p"
    assert qos.effective({"qos_policy_id": None, "device_owner": ""}, None) is None


def test_names_are_answered_on_a_network_with_a_domain() -> None:
    network = NETWORK | {"dns_domain": "example.org."}
    [row] = dns.names("port:p1", PORT | {"dns_name": "web"}, network)
    assert row.columns["records"] == {
        "web.example.org": "10.0.0.5", "web": "10.0.0.5", "5.0.0.10.in-addr.arpa": "web.example.org",
    }  # fmt: skip
    assert dict(row.member_of) == {("Logical_Switch", "dns_records"): ["network:n1"]}
    assert dns.names("port:p1", PORT | {"dns_name": "web"}, NETWORK) == []
    assert dns.names("port:p1", PORT | {"dns_name": ""}, network) == []
    [own] = dns.names("port:p1", PORT | {"dns_name": "web", "dns_domain": "mine.org."}, NETWORK)
    assert own.columns["records"]["web.mine.org"] == "10.0.0.5"
    assert "web.org" in dns.names("port:p1", PORT | {"dns_name": "web.org."}, network)[0].columns["records"]


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({"dns_name": "web"}, {"web", "web.example.org"}),
        ({"dns_name": "web", "dns_domain": "bank.test."}, {"web", "web.example.org"}),
        ({"dns_name": "web.bank.test"}, {"web.bank.test.example.org"}),
        ({"dns_name": "web.bank.test."}, set()),
        ({"dns_name": "web.example.org."}, {"web.example.org"}),
    ],
)
def test_on_somebody_elses_network_names_are_in_its_domain(values: dict[str, str], known: set[str]) -> None:
    network = NETWORK | {"dns_domain": "example.org.", "project_id": "owner"}
    rows = dns.names("port:p1", PORT | {"project_id": "guest"} | values, network)
    assert {name for row in rows for name in row.columns["records"] if not name.endswith(".arpa")} == known


def test_a_subport_names_its_parent_and_tag() -> None:
    subnets = {SUBNET["id"]: SUBNET}
    row = port.port(PORT, NETWORK, subnets, dns=[], metadata={}, parent=("p0", 100))[0]
    assert (row.columns["parent_name"], row.columns["tag"]) == ("p0", 100)
    row = port.port(PORT, NETWORK, subnets, dns=[], metadata={})[0]
    assert (row.columns["parent_name"], row.columns["tag"]) == (None, None)


def log(name: str, event: str = "ALL", target: str | None = None, groups: list[str] | None = None) -> dict[str, Any]:
    return {"id": name, "event": event, "target_id": target, "groups": groups}


def test_the_oldest_log_that_hears_of_it_is_noted_for() -> None:
    logs = [log("old", "DROP"), log("new"), log("last")]
    assert (acl_log.hears(logs, "DROP") or {})["id"] == "old"
    assert (acl_log.hears(logs, "ACCEPT") or {})["id"] == "new"
    assert acl_log.hears(logs[:1], "ACCEPT") is None
    told = acl_log.columns(logs[0], label="0000abcd-0000-4000-8000-000000000000")
    assert told == {"log": True, "name": "old", "severity": "info", "meter": "hagane_log", "label": 0xABCD,
                    "options": {"log-related": "true"}}  # fmt: skip
    assert acl_log.columns(None) == acl_log.SILENT
    assert acl_log.columns(logs[0])["options"] == {}


def test_what_a_log_hears_of_is_dropped_a_step_earlier() -> None:
    rules = [{"id": "0000abcd-0000", "direction": "ingress", "ethertype": "IPv4", "protocol": None}]
    made = group.group({"id": "g"}, rules, {}, [log("of-g", groups=["g"]), log("of-p", "ACCEPT", "p", ["g"])])
    acls = [row.columns for row in made if row.table == "ACL"]
    assert [(a["priority"], a["action"], a["match"], a["name"]) for a in acls] == [
        (1002, "allow-related", "outport == @pg_g && ip4", "of-g"),
        (1003, "allow-related", 'outport == "p" && ip4', "of-p"),
        (1001, "drop", "outport == @pg_g && ip", "of-g"),
        (1001, "drop", "inport == @pg_g && ip", "of-g"),
    ]
    silent = [row.columns for row in group.group({"id": "g"}, rules, {}, [log("x", groups=["h"])])]
    assert [row["log"] for row in silent if "log" in row] == [False]
    base = {row.key: row.columns for row in group.drop([log("all"), log("of-p", "DROP", "p", ["g"])])}
    assert (base["group:drop/rule:in"]["name"], base["group:drop/rule:in"]["priority"]) == ("all", 1000)
    assert base["group:drop/rule:in-noted@p"]["name"] == "of-p"
    assert "name" not in base["group:drop/rule:dhcp"]


def test_a_transparent_network_passes_tags() -> None:
    for network, passes in ((NETWORK, "false"), (NETWORK | {"vlan_transparent": True}, "true")):
        [made] = switch.switch(network, [], {}, dns=[])
        assert made.columns["other_config"]["vlan-passthru"] == passes
