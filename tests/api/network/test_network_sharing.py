"""RBAC, tags, pages, quotas: what is the same for all resources."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.reconcile.ovn.engine import ChassisSeen
from hagane.reconcile.ovn.part import NetworkPart
from tests.api.network.net import ROOT, ZERO, Net, external
from tests.api.people import person
from tests.support import Running, running_cloud


def share(net: Net, thing: dict[str, Any], kind: str, target: str, action: str = "access_as_shared") -> dict[str, Any]:
    return net.make("rbac_policy", object_type=kind, object_id=thing["id"], action=action, target_tenant=target)


def test_a_network_is_shared_with_one_project(alice: Net, bob: Net) -> None:
    network, subnet = alice.wired()
    policy = share(alice, network, "network", bob.project_id)
    assert set(policy) == {"id", "project_id", "tenant_id", "object_type", "object_id", "action", "target_tenant"}
    assert bob.show("network", network)["shared"] is True
    assert alice.show("network", network)["shared"] is False
    assert bob.show("subnet", subnet)["id"] == subnet["id"]
    port = bob.port(network)
    bob.refused("POST", "/ports", {"port": {"network_id": network["id"], "mac_address": "02:00:00:00:00:05"}}, 403,
                "PolicyNotAuthorized", "create_port:mac_address")  # fmt: skip
    path = f"/rbac-policies/{policy['id']}"
    bob.ask("GET", path, status=404)
    alice.refused("DELETE", path, None, 409, "RbacPolicyInUse", "cannot be removed because other objects depend on it")
    bob.delete("port", port)
    alice.ask("DELETE", path, status=204)
    bob.refused("GET", f"/networks/{network['id']}", None, 404, "NetworkNotFound")


def test_sharing_that_cannot_be_is_refused(alice: Net, bob: Net) -> None:
    network, foreign = alice.network(), bob.network()
    good = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared",
            "target_tenant": bob.project_id}  # fmt: skip

    def refuse(status: int, error: str, text: str = "", **values: Any) -> None:
        alice.refused("POST", "/rbac-policies", {"rbac_policy": good | values}, status, error, text)

    refuse(403, "PolicyNotAuthorized", "create_rbac_policy:target_tenant", target_tenant="*")
    refuse(400, "InvalidInput", "'bogus' is not a valid RBAC object type", object_type="bogus")
    refuse(400, "InvalidActionForType", "Invalid action 'bogus' for object type 'network'", action="bogus")
    refuse(400, "InvalidInput", "is not a valid target project ID; expected a UUID or '*'", target_tenant="x")
    refuse(404, "NetworkNotFound", object_id=foreign["id"])
    refuse(404, "NetworkNotFound", object_id=ZERO)
    alice.make("rbac_policy", **good)
    refuse(409, "DuplicateRbacPolicy", "An RBAC policy already exists with those values.")


def test_a_security_group_is_used_by_who_it_is_shared_with(alice: Net, bob: Net) -> None:
    group = alice.make("security_group", name="shared")
    policy = share(alice, group, "security_group", bob.project_id)
    assert bob.show("security_group", group)["shared"] is True
    network, _ = bob.wired()
    port = bob.port(network, security_groups=[group["id"]])
    bob.refused("DELETE", f"/security-groups/{group['id']}", None, 403, "PolicyNotAuthorized")
    alice.refused("DELETE", f"/rbac-policies/{policy['id']}", None, 409, "RbacPolicyInUse")
    bob.delete("port", port)
    alice.ask("DELETE", f"/rbac-policies/{policy['id']}", status=204)


def test_external_is_a_row_too(root: Net, bob: Net) -> None:
    network = root.network()
    policy = share(root, network, "network", bob.project_id, "access_as_external")
    assert bob.show("network", network)["router:external"] is True
    root.ask("DELETE", f"/rbac-policies/{policy['id']}", status=204)
    assert root.show("network", network)["router:external"] is False


def test_an_external_network_stays_open_for_those_whose_routers_use_it(root: Net, alice: Net, bob: Net) -> None:
    network, _ = external(root, "10.240.0.0/24")
    [everyone] = root.get("/rbac-policies", object_id=network["id"], target_tenant="*")["rbac_policies"]
    router = bob.make("router", name="r", external_gateway_info={"network_id": network["id"]})
    path, text = f"/rbac-policies/{everyone['id']}", "There are routers attached to this network that depend on this"
    root.refused("DELETE", path, None, 409, "RbacPolicyInUse", text)
    root.refused("PUT", path, {"rbac_policy": {"target_tenant": alice.project_id}}, 409, "RbacPolicyInUse", text)
    his = share(root, network, "network", bob.project_id, "access_as_external")
    root.ask("DELETE", path, status=204)
    root.refused("DELETE", f"/rbac-policies/{his['id']}", None, 409, "RbacPolicyInUse", text)
    bob.delete("router", router)
    root.ask("DELETE", f"/rbac-policies/{his['id']}", status=204)
    bob.ask("GET", f"/networks/{network['id']}", status=404)


def test_the_default_external_network_stays_everyones(root: Net) -> None:
    for network in root.get("/networks", is_default=True)["networks"]:
        root.change("network", network, is_default=False)
    network, _ = external(root, "10.241.0.0/24", is_default=True)
    [everyone] = root.get("/rbac-policies", object_id=network["id"], target_tenant="*")["rbac_policies"]
    text = "Default external networks must be shared to everyone."
    root.refused("DELETE", f"/rbac-policies/{everyone['id']}", None, 409, "RbacPolicyInUse", text)
    root.change("network", network, is_default=False)
    root.ask("DELETE", f"/rbac-policies/{everyone['id']}", status=204)


def test_sharing_with_oneself_keeps_nothing_in_use_and_is_a_revision(alice: Net, bob: Net) -> None:
    network, _ = alice.wired()
    mine = share(alice, network, "network", alice.project_id)
    assert alice.show("network", network)["revision_number"] > network["revision_number"]
    alice.port(network)
    path = f"/rbac-policies/{mine['id']}"
    alice.ask("PUT", path, {"rbac_policy": {"target_tenant": bob.project_id}})
    alice.ask("DELETE", path, status=204)


def test_a_pool_is_shared_only_with_who_may_use_its_scope(root: Net, alice: Net, bob: Net) -> None:
    scope = root.make("address_scope", name="s", ip_version=4)
    share(root, scope, "address_scope", alice.project_id)
    pool = alice.make("subnetpool", name="p", prefixes=["10.242.0.0/24"], address_scope_id=scope["id"])
    body = {"object_type": "subnetpool", "object_id": pool["id"], "action": "access_as_shared",
            "target_tenant": bob.project_id}  # fmt: skip
    text = "target project doesn't have access to associated address scope"
    alice.refused("POST", "/rbac-policies", {"rbac_policy": body}, 400, "InvalidInput", text)
    wider = {"subnetpool": {"prefixes": ["10.242.0.0/23"]}}
    text = f"subnetpool {pool['id']} cannot be updated when associated with shared address scope {scope['id']}"
    alice.refused("PUT", f"/subnetpools/{pool['id']}", wider, 400, "IllegalSubnetPoolUpdate", text)
    assert root.change("subnetpool", pool, prefixes=["10.242.0.0/23"])["prefixes"] == ["10.242.0.0/23"]
    share(root, scope, "address_scope", bob.project_id)
    share(alice, pool, "subnetpool", bob.project_id)


def test_what_is_no_value_is_refused_before_anything_is_looked_for(root: Net, alice: Net) -> None:
    pool = root.make("subnetpool", name="p", prefixes=["10.243.0.0/24"])
    path = f"/subnetpools/{pool['id']}"
    alice.refused("PUT", path, {"subnetpool": {"name": "x" * 256}}, 400, "HTTPBadRequest", "exceeds maximum length")
    alice.refused("PUT", path, {"subnetpool": {"name": "x"}}, 404, "SubnetPoolNotFound")
    assert (pool["default_prefixlen"], pool["max_prefixlen"]) == ("8", "32")
    [listed] = root.get("/subnetpools", id=pool["id"])["subnetpools"]
    assert listed == pool


KINDS = ("network", "subnet", "port", "router", "security_group", "subnetpool")


@pytest.mark.parametrize("kind", KINDS)
def test_tags_of_every_resource(alice: Net, bob: Net, reader: Net, kind: str) -> None:
    network, subnet = alice.wired()
    thing = {
        "network": lambda: network, "subnet": lambda: subnet, "port": lambda: alice.port(network),
        "router": lambda: alice.make("router"), "security_group": lambda: alice.make("security_group"),
        "subnetpool": lambda: alice.make("subnetpool", name="p", prefixes=["50.0.0.0/16"]),
    }[kind]()  # fmt: skip
    path = f"/{kind.replace('_', '-')}s/{thing['id']}"
    assert alice.ask("PUT", path + "/tags", {"tags": ["a", "b"]}) == {"tags": ["a", "b"]}
    alice.ask("PUT", path + "/tags/c", status=201)
    assert alice.get(path + "/tags") == {"tags": ["a", "b", "c"]}
    alice.ask("GET", path + "/tags/c", status=204)
    alice.refused("GET", path + "/tags/z", None, 404, "TagNotFound", "Tag z could not be found.")
    alice.ask("DELETE", path + "/tags/a", status=204)
    assert alice.show(kind, thing)["tags"] == ["b", "c"]
    listed, plural = f"/{kind.replace('_', '-')}s", f"{kind}s"

    def found(**query: str) -> bool:
        return thing["id"] in {each["id"] for each in alice.get(listed, **query)[plural]}

    assert found(tags="b,c") and not found(tags="b,z") and found(**{"tags-any": "b,z"})
    assert not found(**{"not-tags": "b,c"}) and found(**{"not-tags": "b,z"}) and not found(**{"not-tags-any": "b,z"})
    bob.ask("PUT", path + "/tags/x", status=404)
    reader.refused("PUT", path + "/tags/x", None, 403, "PolicyNotAuthorized")
    alice.refused("PUT", path + "/tags", {"tags": ["x", "x"]}, 400, "InvalidInput", "Duplicate items in the list: 'x'")
    alice.refused("PUT", path + "/tags", {}, 400, "InvalidInput", "Invalid tags body")
    many = {"tags": [f"t{i}" for i in range(51)]}
    alice.refused("PUT", path + "/tags", many, 400, "BadRequest", "exceed the per-resource limit of 50")
    alice.ask("DELETE", path + "/tags", status=204)
    assert alice.show(kind, thing)["tags"] == []


def test_pages_lead_from_one_to_the_next_and_back(alice: Net) -> None:
    for number in range(5):
        alice.network(name=f"page-{number}", description="paged")
    query = {"description": "paged", "sort_key": "name", "sort_dir": "asc", "limit": 2, "fields": "name"}
    page = alice.get("/networks", **query)
    seen = [each["name"] for each in page["networks"]]
    for _ in range(5):
        links = {link["rel"]: link["href"] for link in page["networks_links"]}
        if "next" not in links:
            break
        page = alice.http.get(links["next"]).json()
        seen += [each["name"] for each in page["networks"]]
    assert seen == [f"page-{number}" for number in range(5)]
    back = {link["rel"]: link["href"] for link in page["networks_links"]}["previous"]
    assert [each["name"] for each in alice.http.get(back).json()["networks"]] == ["page-2", "page-3"]


def test_lists_refuse_what_they_cannot_do(alice: Net) -> None:
    def refuse(error: str, text: str, **query: Any) -> None:
        alice.refused("GET", "/networks", None, 400, error, text, params=query)

    refuse("BadRequest", "Limit must be an integer 0 or greater and not 'x'", limit="x")
    refuse("HTTPBadRequest", "['foo'] is invalid attribute for sort_keys", sort_key="foo", sort_dir="asc")
    refuse("HTTPBadRequest", "The number of sort_keys and sort_dirs must be same", sort_key="name")
    refuse("HTTPBadRequest", "['up'] is invalid value for sort_dirs", sort_key="name", sort_dir="up")
    refuse("InvalidInput", "'bla' cannot be converted to boolean", admin_state_up="bla")
    alice.refused("GET", "/networks", None, 404, "NetworkNotFound", params={"limit": 1, "marker": ZERO})
    assert alice.get("/trunks", limit=1, marker=ZERO)["trunks"] == []  # as in the real service: not all insist on it


def test_quotas_are_read_and_set(alice: Net, bob: Net, root: Net) -> None:
    own = f"/quotas/{alice.project_id}"
    assert alice.get(own)["quota"]["port"] == 500
    assert set(alice.get(own + "/details")["quota"]["network"]) == {"limit", "used", "reserved"}
    assert alice.get("/quotas/project") == {"project": {"project_id": alice.project_id}}
    bob.refused("GET", own, None, 403, "PolicyNotAuthorized", "rule:get_quota is disallowed by policy")
    alice.refused("PUT", own, {"quota": {"port": 1}}, 403, "PolicyNotAuthorized")
    changed = root.ask("PUT", own, {"quota": {"port": 77, "router": -1}})["quota"]
    assert (changed["port"], changed["router"]) == (77, -1)
    used = alice.get(own + "/details")["quota"]["network"]["used"]
    assert used > 0
    text = f"Quota limit 0 for network must be greater than or equal to already used {used}"
    root.refused("PUT", own, {"quota": {"network": 0}}, 400, "HTTPBadRequest", text)
    root.ask("PUT", own, {"quota": {"network": 0, "force": True}})
    alice.refused("POST", "/networks", {"network": {}}, 409, "OverQuota", "Quota exceeded for resources: ['network'].")
    assert {q["project_id"]: q["port"] for q in root.get("/quotas")["quotas"]}[alice.project_id] == 77
    root.refused("PUT", own, {"quota": {"foo": 1}}, 400, "HTTPBadRequest", "Unrecognized attribute(s) 'foo'")
    root.refused("PUT", own, {"quota": {"port": "x"}}, 400, "InvalidInput", "'x' is not an integer")
    root.ask("DELETE", own, status=204)
    root.refused("DELETE", own, None, 404, "TenantQuotaNotFound")
    assert alice.get(own)["quota"] == alice.get(own + "/default")["quota"]


def test_what_is_used_is_what_is_there(alice: Net, root: Net) -> None:
    """The counters agree with the rows after all that the tests before did, refusals and all."""
    used = {name: entry["used"] for name, entry in alice.get(f"/quotas/{alice.project_id}/details")["quota"].items()}
    for name in ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule",
                 "subnetpool"):  # fmt: skip
        path = f"/{name.replace('_', '-')}s"
        assert used[name] == len(root.get(path, project_id=alice.project_id, fields="id")[f"{name}s"]), name


def test_fifty_clients_get_what_the_quota_leaves_and_no_more(root: Net, bob: Net) -> None:
    network, _ = bob.wired()
    used = bob.get(f"/quotas/{bob.project_id}/details")["quota"]["port"]["used"]
    root.ask("PUT", f"/quotas/{bob.project_id}", {"quota": {"port": used + 20}})
    token, base = bob.http.headers["X-Auth-Token"], str(bob.http.base_url)

    def ask(_: int) -> tuple[int, Any]:
        with httpx.Client(base_url=base, headers={"X-Auth-Token": token}) as client:
            answer = client.post(f"{ROOT}/ports", json={"port": {"network_id": network["id"]}})
            return answer.status_code, answer.json()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    ports = [body["port"] for status, body in answers if status == 201]
    assert sorted(status for status, _ in answers) == [201] * 20 + [409] * 30
    assert {body["NeutronError"]["type"] for status, body in answers if status == 409} == {"OverQuota"}
    assert len({port["fixed_ips"][0]["ip_address"] for port in ports}) == 20
    assert len({port["mac_address"] for port in ports}) == 20
    root.ask("DELETE", f"/quotas/{bob.project_id}", status=204)


def test_documents_of_administrators(root: Net, alice: Net) -> None:
    network, subnet = alice.wired("10.50.0.0/24", enable_dhcp=False)
    alice.port(network)
    [full] = root.get("/network-ip-availabilities", network_id=network["id"])["network_ip_availabilities"]
    assert (full["total_ips"], full["used_ips"]) == (253, 1)
    assert full["subnet_ip_availability"][0]["subnet_id"] == subnet["id"]
    assert alice.get("/network-ip-availabilities")["network_ip_availabilities"] == []
    providers = alice.get("/service-providers")["service_providers"]
    assert providers == [{"service_type": "L3_ROUTER_NAT", "name": "ovn", "default": True}]
    agents = root.get("/agents")["agents"]
    assert {agent["agent_type"] for agent in agents} <= {"OVN Controller agent", "OVN Controller Gateway agent"}
    assert agents and all(agent["alive"] and agent["binary"] == "ovn-controller" for agent in agents)
    assert root.get(f"/agents/{agents[0]['id']}")["agent"]["host"] == agents[0]["host"]
    assert len(root.get("/agents", host=agents[0]["host"])["agents"]) == 1
    assert alice.get("/agents")["agents"] == []
    root.refused("GET", "/agents/x", None, 404, "AgentNotFound", "Agent x could not be found.")


def test_what_was_made_for_a_project_goes_with_it(cloud: Running, root: Net, alice: Net) -> None:
    who = person(cloud)
    gone = Net(who.http, who.project_id)
    share(alice, alice.network(), "network", gone.project_id)
    gone.get("/security-groups")
    assert root.get("/security-groups", project_id=gone.project_id)["security_groups"]
    root.http.delete(f"/identity/v3/projects/{gone.project_id}").raise_for_status()
    assert root.get("/security-groups", project_id=gone.project_id)["security_groups"] == []
    assert root.get("/rbac-policies", target_tenant=gone.project_id)["rbac_policies"] == []
    who.http.close()
    cloud.settle()


def test_lists_are_filtered_by_what_is_shared(alice: Net, bob: Net, root: Net) -> None:
    network, subnet = alice.wired()
    share(alice, network, "network", bob.project_id)

    def found(kind: str, thing: dict[str, Any], **query: Any) -> bool:
        return thing["id"] in {each["id"] for each in bob.get(f"/{kind}s", **query)[f"{kind}s"]}

    for kind, thing in (("network", network), ("subnet", subnet)):
        assert found(kind, thing, shared=True) and not found(kind, thing, shared=False)
        assert found(kind, thing, shared=["true", "false"])
    assert found("subnet", subnet, **{"router:external": False})
    assert not found("subnet", subnet, **{"router:external": True})


def test_an_agent_is_described_and_no_more(root: Net, alice: Net) -> None:
    agent = root.get("/agents")["agents"][0]
    path = f"/agents/{agent['id']}"
    changed = root.ask("PUT", path, {"agent": {"description": "rack 7", "admin_state_up": True}})["agent"]
    assert (changed["description"], changed["id"]) == ("rack 7", agent["id"])
    assert {a["id"]: a["description"] for a in root.get("/agents")["agents"]}[agent["id"]] == "rack 7"
    assert root.get("/agents", description="rack 7")["agents"] == [root.get(path)["agent"]]
    text = "OVN agent status cannot be updated"
    root.refused("PUT", path, {"agent": {"admin_state_up": False}}, 400, "BadRequest", text)
    root.refused("PUT", path, {"agent": {"host": "x"}}, 400, "HTTPBadRequest", "Cannot update read-only attribute host")
    root.refused("DELETE", path, None, 409, "AgentInUse", "which is alive: it goes when ovn-controller ends there")
    root.refused("DELETE", f"/agents/{ZERO}", None, 404, "AgentNotFound")
    alice.refused("PUT", path, {"agent": {"description": ""}}, 404, "AgentNotFound")
    assert root.ask("PUT", path, {"agent": {"description": None}})["agent"]["description"] == ""


def test_an_operator_gives_all_projects_other_limits(tmp_path: Path) -> None:
    with running_cloud(tmp_path, network_quota={"router": 1, "network": -1}) as cloud:
        alice, admin = person(cloud), httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": cloud.token()})
        net, root = Net(alice.http, alice.project_id), Net(admin)
        path = f"/quotas/{alice.project_id}"
        assert [net.get(path + more)["quota"]["router"] for more in ("", "/default")] == [1, 1]
        net.make("router", name="one")
        net.refused("POST", "/routers", {"router": {}}, 409, "OverQuota", "['router']")
        assert root.get("/quotas")["quotas"] == []
        root.ask("PUT", path, {"quota": {"router": 2}})
        net.make("router", name="two")
        alice.http.close()
        admin.close()


def test_a_dead_agent_is_taken_out_of_ovn(root: Net, alice: Net, cloud: Running) -> None:
    ovn = cloud.hagane.cloud.use(NetworkPart).ovn
    dead = ChassisSeen("c5a2a2c8-0000-4000-8000-000000000009", "gone", alive=False)
    ovn.chassis().append(dead)
    path = f"/agents/{dead.name}"
    assert root.get(path)["agent"]["alive"] is False
    alice.refused("DELETE", path, None, 404, "AgentNotFound")
    root.ask("DELETE", path, status=204)
    root.refused("DELETE", path, None, 404, "AgentNotFound")
    assert dead.name not in {agent["id"] for agent in root.get("/agents")["agents"]}
    cloud.settle()
    assert dead not in ovn.chassis()
    ovn.chassis().append(replace(dead, alive=True))  # its machine came back after all
    assert root.get(path)["agent"]["alive"] is True
    ovn.chassis().pop()
