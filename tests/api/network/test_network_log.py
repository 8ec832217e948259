"""Logs of security groups over HTTP, and what becomes of them in OVN."""

from typing import Any

from hagane.ovn.northbound import Table
from hagane.reconcile.ovn.part import NetworkPart
from tests.api.network.net import ZERO, Net
from tests.api.people import person
from tests.support import Running


def log(root: Net, **values: Any) -> dict[str, Any]:
    body = {"log": {"resource_type": "security_group"} | values}
    return dict(root.ask("POST", "/log/logs", body, 201)["log"])


def noting(cloud: Running, name: str) -> set[str]:
    """The ACLs that note for a log, when all work is done."""
    cloud.settle()
    owned = cloud.hagane.cloud.use(NetworkPart).ovn.rows.values()  # type: ignore[attr-defined]
    acls = [row for rows in owned for (kind, _), row in rows.items() if kind == Table.ACL]
    return {row.key for row in acls if row.columns.get("name") == name and row.columns["log"]}


def test_a_log_has_the_keys_of_the_real_service(root: Net, alice: Net) -> None:
    group = alice.make("security_group", name="g")
    made = log(root, resource_id=group["id"], name="n", description="d", project_id=alice.project_id)
    assert set(made) == {
        "id", "name", "project_id", "tenant_id", "description", "revision_number", "created_at", "updated_at",
        "resource_type", "resource_id", "event", "target_id", "enabled",
    }  # fmt: skip
    assert (made["event"], made["enabled"], made["target_id"]) == ("ALL", True, None)
    path = f"/log/logs/{made['id']}"
    changed = root.ask("PUT", path, {"log": {"enabled": False, "description": "e"}})["log"]
    assert (changed["enabled"], changed["description"], changed["revision_number"]) == (False, "e", 2)
    assert [each["id"] for each in root.get("/log/logs", resource_id=group["id"], enabled=False)["logs"]] == [
        made["id"]
    ]
    alice.ask("GET", path, status=404)  # its project's managers may, members not
    alice.refused("POST", "/log/logs", {"log": {"resource_type": "security_group"}}, 403, "PolicyNotAuthorized")
    assert alice.get("/log/logs")["logs"] == []
    root.refused("PUT", path, {"log": {"event": "DROP"}}, 400, "HTTPBadRequest", "Cannot update read-only attribute")
    root.ask("DELETE", path, status=204)
    root.refused("GET", path, None, 404, "LogResourceNotFound", f"Log resource {made['id']} could not be found.")
    assert root.get("/log/loggable-resources")["loggable_resources"] == [{"type": "security_group"}]


def test_a_log_of_what_is_not_there_is_refused(root: Net, alice: Net) -> None:
    group, network = alice.make("security_group", name="g"), alice.wired()[0]
    port = alice.port(network)

    def refuse(status: int, error: str, text: str, **values: Any) -> None:
        root.refused("POST", "/log/logs", {"log": {"resource_type": "security_group"} | values}, status, error, text)

    refuse(400, "InvalidLogResourceType", "Invalid log resource_type: router.", resource_type="router")
    refuse(404, "ResourceNotFound", f"Resource {ZERO} could not be found.", resource_id=ZERO)
    refuse(404, "TargetResourceNotFound", f"Target resource {ZERO} could not be found.", target_id=ZERO)
    refuse(400, "HTTPBadRequest", "event", event="REJECT")
    refuse(400, "InvalidResourceConstraint", "Invalid resource constraint", resource_id=group["id"],
           target_id=port["id"])  # fmt: skip


def test_a_manager_hears_of_the_own_project_only(root: Net, alice: Net, bob: Net, cloud: Running) -> None:
    who = person(cloud, "manager", alice.project_id)
    boss = Net(who.http, alice.project_id)
    mine, theirs = (each.make("security_group", name="g")["id"] for each in (alice, bob))
    port = bob.port(bob.wired()[0])["id"]

    def refuse(status: int, error: str, **values: Any) -> None:
        boss.refused("POST", "/log/logs", {"log": {"resource_type": "security_group"} | values}, status, error)

    refuse(403, "NotAuthorized")
    refuse(404, "ResourceNotFound", resource_id=theirs)
    refuse(404, "TargetResourceNotFound", target_id=port)
    made = log(boss, resource_id=mine)
    assert [each["id"] for each in boss.get("/log/logs")["logs"]] == [made["id"]]
    boss.ask("DELETE", f"/log/logs/{made['id']}", status=204)
    who.http.close()


def test_a_log_of_a_group_that_its_port_has_left_ends_with_it(root: Net, alice: Net, cloud: Running) -> None:
    group, network = alice.make("security_group", name="g"), alice.wired()[0]
    port = alice.port(network, security_groups=[group["id"]])
    made = log(root, resource_id=group["id"], target_id=port["id"])["id"]
    alice.change("port", port, security_groups=[])
    assert noting(cloud, made)
    alice.delete("security_group", group)
    assert not noting(cloud, made)


def test_a_log_ends_with_its_group_or_port(root: Net, alice: Net) -> None:
    group, network = alice.make("security_group", name="g"), alice.wired()[0]
    port = alice.port(network)
    of_group, of_port = log(root, resource_id=group["id"]), log(root, target_id=port["id"])
    alice.delete("security_group", group)
    alice.delete("port", port)
    for made in (of_group, of_port):
        root.ask("GET", f"/log/logs/{made['id']}", status=404)


def test_rules_note_for_the_logs_that_hear_of_them(root: Net, alice: Net, cloud: Running) -> None:
    group, other = (alice.make("security_group", name=name) for name in ("g", "o"))
    port = alice.port(alice.wired()[0], security_groups=[group["id"]])
    mine = {f"security_group:{group['id']}/rule:{rule['id']}" for rule in group["security_group_rules"]}
    theirs = {f"security_group:{other['id']}/rule:{rule['id']}" for rule in other["security_group_rules"]}
    of_group = log(root, resource_id=group["id"], event="ACCEPT")["id"]
    assert noting(cloud, of_group) == mine
    of_port = log(root, target_id=port["id"])["id"]
    cloud.settle()
    dropped = {f"group:drop/rule:{way}-noted@{port['id']}" for way in ("in", "out")}
    assert noting(cloud, of_port) == dropped | {f"{key}@{port['id']}" for key in mine}
    alice.change("port", port, security_groups=[other["id"]])
    assert noting(cloud, of_port) == dropped | {f"{key}@{port['id']}" for key in theirs}
    everything = log(root, event="DROP")["id"]
    assert noting(cloud, everything) == {"group:drop/rule:in", "group:drop/rule:out"}
    for name in (of_group, of_port, everything):
        root.ask("DELETE", f"/log/logs/{name}", status=204)
    assert not any(noting(cloud, name) for name in (of_group, of_port, everything))
