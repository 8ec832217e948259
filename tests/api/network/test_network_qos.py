"""QoS policies over HTTP: their rules, what they are bound to, and what becomes of them in OVN."""

from typing import Any

import pytest

from hagane.ovn.northbound import Table
from tests.api.network.net import ROOT, ZERO, Net, external
from tests.api.network.test_network_compiled import rows
from tests.support import Running


@pytest.fixture(scope="module")
def manager(root: Net, alice: Net) -> Net:
    """Whoever may make policies for Alice's project: the administrator, for her."""
    return root


def policy(root: Net, owner: Net, **values: Any) -> dict[str, Any]:
    body = {"policy": {"name": "p", "project_id": owner.project_id} | values}
    return dict(root.ask("POST", "/qos/policies", body, 201)["policy"])


def rule(root: Net, of: dict[str, Any], kind: str, **values: Any) -> dict[str, Any]:
    path = f"/qos/policies/{of['id']}/{kind}_rules"
    return dict(root.ask("POST", path, {f"{kind}_rule": values}, 201)[f"{kind}_rule"])


def test_a_policy_has_the_keys_of_the_real_service(root: Net, alice: Net, bob: Net) -> None:
    made = policy(root, alice, description="d")
    assert set(made) == {
        "id", "name", "project_id", "tenant_id", "description", "shared", "is_default", "rules", "tags",
        "revision_number", "created_at", "updated_at",
    }  # fmt: skip
    limit = rule(root, made, "bandwidth_limit", max_kbps="1000")
    assert limit == {"id": limit["id"], "max_kbps": 1000, "max_burst_kbps": 0, "direction": "egress"}
    mark = rule(root, made, "dscp_marking", dscp_mark=26)
    least = rule(root, made, "minimum_bandwidth", min_kbps=10)
    path = f"/qos/policies/{made['id']}"
    seen = alice.get(path)["policy"]
    assert seen["revision_number"] == made["revision_number"] + 3
    assert {r["type"]: r for r in seen["rules"]} == {
        "bandwidth_limit": limit | {"type": "bandwidth_limit", "qos_policy_id": made["id"]},
        "dscp_marking": mark | {"type": "dscp_marking", "qos_policy_id": made["id"]},
        "minimum_bandwidth": least | {"type": "minimum_bandwidth", "qos_policy_id": made["id"]},
    }
    assert alice.get(f"{path}/bandwidth_limit_rules")["bandwidth_limit_rules"] == [limit]
    assert alice.get(f"{path}/dscp_marking_rules/{mark['id']}")["dscp_marking_rule"] == mark
    bob.refused("GET", path, None, 404, "QosPolicyNotFound", f"QoS policy {made['id']} could not be found.")
    bob.refused("GET", f"{path}/dscp_marking_rules", None, 404, "QosPolicyNotFound")
    alice.refused("POST", "/qos/policies", {"policy": {"name": "p"}}, 403, "PolicyNotAuthorized")
    alice.refused("DELETE", f"{path}/dscp_marking_rules/{mark['id']}", None, 403, "PolicyNotAuthorized")
    text = f"QoS rule {ZERO} for policy {made['id']} could not be found."
    root.refused("DELETE", f"{path}/dscp_marking_rules/{ZERO}", None, 404, "QosRuleNotFound", text)
    root.ask("DELETE", path, status=204)
    alice.refused("GET", f"{path}/dscp_marking_rules/{mark['id']}", None, 404, "QosPolicyNotFound")


def test_rules_by_their_alias(root: Net, alice: Net, bob: Net) -> None:
    made = policy(root, alice)
    limit = rule(root, made, "bandwidth_limit", max_kbps=1000, direction="ingress")
    path = f"/qos/alias-bandwidth-limit-rules/{limit['id']}"
    assert alice.get(path)["alias_bandwidth_limit_rule"] == limit
    body = {"alias_bandwidth_limit_rule": {"max_kbps": 2000}}
    assert root.ask("PUT", path, body)["alias_bandwidth_limit_rule"]["max_kbps"] == 2000
    bob.ask("GET", path, status=404)
    root.ask("DELETE", path, status=204)
    root.refused("GET", path, None, 404, "QosRuleNotFound")


def test_rules_that_contradict_each_other_are_refused(root: Net, alice: Net) -> None:
    made = policy(root, alice)
    path = f"/qos/policies/{made['id']}"
    limit = rule(root, made, "bandwidth_limit", max_kbps=1000)
    text = f"Rule bandwidth_limit conflicts with rule {limit['id']} which already exists in QoS Policy {made['id']}."
    root.refused("POST", f"{path}/bandwidth_limit_rules", {"bandwidth_limit_rule": {"max_kbps": 5}}, 409,
                 "QoSRulesConflict", text)  # fmt: skip
    text = (f"Unable to add the rule with value 2000 to the policy {made['id']} as the existing rule of type "
            "bandwidth_limit has value 1000.")  # fmt: skip
    root.refused("POST", f"{path}/minimum_bandwidth_rules", {"minimum_bandwidth_rule": {"min_kbps": 2000}}, 409,
                 "QoSRuleParameterConflict", text)  # fmt: skip
    rule(root, made, "bandwidth_limit", max_kbps=5, direction="ingress")
    for kind, body in (("bandwidth_limit", {"max_kbps": -1}), ("bandwidth_limit", {"max_kbps": 1, "direction": "up"}),
                       ("dscp_marking", {"dscp_mark": 7}), ("minimum_bandwidth", {}),
                       ("minimum_bandwidth", {"min_kbps": 1, "direction": "ingress"})):  # fmt: skip
        root.refused("POST", f"{path}/{kind}_rules", {f"{kind}_rule": body}, 400, "HTTPBadRequest")


def test_a_policy_is_bound_and_then_in_use(root: Net, alice: Net, bob: Net) -> None:
    made, other = policy(root, alice), policy(root, bob)
    network, _ = alice.wired()
    port = alice.port(network, qos_policy_id=made["id"])
    assert alice.show("port", port)["qos_policy_id"] == made["id"]
    assert alice.get("/ports", qos_policy_id=made["id"])["ports"][0]["id"] == port["id"]
    text = f"QoS Policy {made['id']} is used by port {port['id']}."
    root.refused("DELETE", f"/qos/policies/{made['id']}", None, 409, "QosPolicyInUse", text)
    alice.refused("PUT", f"/ports/{port['id']}", {"port": {"qos_policy_id": other["id"]}}, 404, "QosPolicyNotFound")
    alice.refused("POST", "/networks", {"network": {"qos_policy_id": ZERO}}, 404, "QosPolicyNotFound")
    assert alice.change("port", port, qos_policy_id=None)["qos_policy_id"] is None
    assert alice.change("network", network, qos_policy_id=made["id"])["qos_policy_id"] == made["id"]
    root.refused("DELETE", f"/qos/policies/{made['id']}", None, 409, "QosPolicyInUse", "is used by network")
    alice.change("network", network, qos_policy_id=None)
    root.ask("DELETE", f"/qos/policies/{made['id']}", status=204)


def test_a_shared_policy_is_bound_by_others(root: Net, alice: Net, bob: Net) -> None:
    made = policy(root, alice)
    grant = {"object_type": "qos_policy", "object_id": made["id"], "action": "access_as_shared"}
    shared = alice.make("rbac_policy", **grant, target_tenant=bob.project_id)
    assert bob.get(f"/qos/policies/{made['id']}")["policy"]["shared"] is True
    network, _ = bob.wired()
    port = bob.port(network, qos_policy_id=made["id"])
    alice.refused("DELETE", f"/rbac-policies/{shared['id']}", None, 409, "RbacPolicyInUse")
    bob.delete("port", port)
    alice.ask("DELETE", f"/rbac-policies/{shared['id']}", status=204)
    root.ask("PUT", f"/qos/policies/{made['id']}", {"policy": {"shared": True}})
    assert [p["id"] for p in bob.get("/qos/policies", shared=True, id=made["id"])["policies"]] == [made["id"]]
    root.ask("PUT", f"/qos/policies/{made['id']}", {"policy": {"shared": False}})
    bob.refused("GET", f"/qos/policies/{made['id']}", None, 404, "QosPolicyNotFound")


def test_a_projects_default_policy_is_its_new_networks(root: Net, bob: Net) -> None:
    made = policy(root, bob, is_default=True)
    body = {"policy": {"name": "x", "project_id": bob.project_id, "is_default": True}}
    root.refused("POST", "/qos/policies", body, 409, "QoSPolicyDefaultAlreadyExists",
                 f"A default QoS policy exists for project {bob.project_id}.")  # fmt: skip
    network = bob.network()
    assert network["qos_policy_id"] == made["id"]
    bob.delete("network", network)
    root.ask("DELETE", f"/qos/policies/{made['id']}", status=204)


def test_types_are_those_that_ovn_enforces(root: Net, alice: Net) -> None:
    types = alice.get("/qos/rule-types")["rule_types"]
    assert types == [{"type": "bandwidth_limit"}, {"type": "dscp_marking"}, {"type": "minimum_bandwidth"}]
    shown = root.get("/qos/rule-types/dscp_marking")["rule_type"]
    assert shown["drivers"][0]["supported_parameters"][0]["parameter_name"] == "dscp_mark"
    taken = root.get("/qos/rule-types/minimum_bandwidth")["rule_type"]["drivers"][0]["supported_parameters"]
    assert taken[1] == {"parameter_name": "direction", "parameter_type": "choices", "parameter_values": ["egress"]}
    alice.refused("GET", "/qos/rule-types/dscp_marking", None, 403, "NotAuthorized")


def test_policies_have_tags(root: Net, alice: Net) -> None:
    made = policy(root, alice)
    path = f"/qos/policies/{made['id']}/tags"
    root.ask("PUT", path + "/red", status=201)
    root.ask("PUT", path + "/blue", status=201)
    assert alice.get(path)["tags"] == ["red", "blue"]
    assert [p["id"] for p in alice.get("/qos/policies", tags="red,blue")["policies"]] == [made["id"]]
    root.ask("DELETE", path, status=204)


def test_what_ovn_gets_follows_the_rules(cloud: Running, root: Net, alice: Net) -> None:
    made = policy(root, alice)
    network, subnet = alice.wired()
    port = alice.port(network)
    outside, _ = external(root, "198.51.101.0/24")
    router = alice.make("router", external_gateway_info={"network_id": outside["id"]})
    alice.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    floating = alice.make("floatingip", floating_network_id=outside["id"], port_id=port["id"],
                          qos_policy_id=made["id"])  # fmt: skip
    alice.change("network", network, qos_policy_id=made["id"])

    def seen(owner: str) -> list[dict[str, Any]]:
        return rows(cloud, owner, Table.QOS)

    assert seen(f"port:{port['id']}") == []
    limit = rule(root, made, "bandwidth_limit", max_kbps=1000, max_burst_kbps=100)
    rule(root, made, "dscp_marking", dscp_mark=26)
    [egress] = seen(f"port:{port['id']}")
    assert egress == {"direction": "from-lport", "priority": 2002, "match": f'inport == "{port["id"]}"',
                      "bandwidth": {"rate": 1000, "burst": 100}, "action": {"dscp": 26}}  # fmt: skip
    gateway = root.get("/ports", device_id=router["id"], device_owner="network:router_gateway")["ports"][0]["id"]
    [outer] = seen(f"floatingip:{floating['id']}")
    assert outer["match"] == (f'inport == "{gateway}" && ip4.src == {floating["floating_ip_address"]} && '
                              f'is_chassis_resident("cr-lrp-{gateway}")')  # fmt: skip
    path = f"/qos/policies/{made['id']}/bandwidth_limit_rules/{limit['id']}"
    root.ask("PUT", path, {"bandwidth_limit_rule": {"direction": "ingress", "max_burst_kbps": 0}})
    assert [(r["direction"], r["bandwidth"]) for r in seen(f"port:{port['id']}")] == [
        ("from-lport", {}), ("to-lport", {"rate": 1000}),
    ]  # fmt: skip
    alice.change("network", network, qos_policy_id=None)
    assert seen(f"port:{port['id']}") == []
    assert root.http.get(f"{ROOT}/qos/policies").status_code == 200


def test_a_routers_gateway_has_a_policy(cloud: Running, root: Net, alice: Net, bob: Net) -> None:
    made, other = policy(root, alice), policy(root, bob)
    rule(root, made, "bandwidth_limit", max_kbps=1000)
    outside, _ = external(root, "198.51.104.0/24")
    info = {"network_id": outside["id"], "qos_policy_id": made["id"]}
    router = alice.make("router", external_gateway_info=info)
    assert router["external_gateway_info"]["qos_policy_id"] == made["id"]
    port = root.get("/ports", device_id=router["id"])["ports"][0]["id"]
    [limit] = rows(cloud, f"port:{port}", Table.QOS)
    assert (limit["match"], limit["bandwidth"]) == (f'inport == "{port}"', {"rate": 1000})
    root.refused("DELETE", f"/qos/policies/{made['id']}", None, 409, "QosPolicyInUse")
    path, body = f"/routers/{router['id']}", {"network_id": outside["id"], "qos_policy_id": other["id"]}
    alice.refused("PUT", path, {"router": {"external_gateway_info": body}}, 404, "QosPolicyNotFound")
    kept = alice.change("router", router, external_gateway_info={"network_id": outside["id"]})
    assert kept["external_gateway_info"]["qos_policy_id"] == made["id"]
    freed = alice.change("router", router, external_gateway_info=info | {"qos_policy_id": None})
    assert "qos_policy_id" not in freed["external_gateway_info"]
    assert rows(cloud, f"port:{port}", Table.QOS) == []
    alice.delete("router", router)
    root.ask("DELETE", f"/qos/policies/{made['id']}", status=204)


def test_whoever_makes_no_rules_is_told_that_of_any_policy(root: Net, alice: Net, bob: Net) -> None:
    made = policy(root, alice)
    path, body = f"/qos/policies/{made['id']}/bandwidth_limit_rules", {"bandwidth_limit_rule": {"max_kbps": 1}}
    bob.refused("POST", path, body, 403, "PolicyNotAuthorized")
    root.refused("POST", path.replace(made["id"], ZERO), body, 404, "QosPolicyNotFound")


def test_a_shared_policy_that_is_bound_stays_shared(root: Net, bob: Net) -> None:
    made = policy(root, root, shared=True)
    network = root.network(qos_policy_id=made["id"])
    path = f"/qos/policies/{made['id']}"
    root.refused("PUT", path, {"policy": {"shared": False}}, 409, "RbacPolicyInUse")
    root.delete("network", network)
    assert root.ask("PUT", path, {"policy": {"shared": False}})["policy"]["shared"] is False


def test_policies_have_their_tags_right_under_the_root_too(root: Net, alice: Net) -> None:
    made = policy(root, alice)
    root.ask("PUT", f"/policies/{made['id']}/tags", {"tags": ["red"]})
    assert root.get(f"/qos/policies/{made['id']}/tags")["tags"] == ["red"]
    assert [each["id"] for each in root.get("/qos/policies", tags="red")["policies"]] == [made["id"]]
