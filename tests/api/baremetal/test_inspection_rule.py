"""Inspection rules, and what they do to a Node that is inspected."""

from typing import Any

import httpx

from hagane.baremetal.inspection_rule import RULE
from tests.api.baremetal.test_node import enrol, fault, verb
from tests.support import Running

LOG = {"op": "log", "args": {"msg": "{node.uuid} is inspected"}}


def make(metal: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = metal.post("/inspection_rules", json={"actions": [LOG]} | body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_rule_and_its_life(metal: httpx.Client) -> None:
    condition = {"op": "!eq", "args": {"values": ["{item}", "x"]}, "loop": ["a"]}
    made = make(metal, description="d", conditions=[condition])
    path = f"/inspection_rules/{made['uuid']}"
    assert made["conditions"] == [condition | {"multiple": "any"}]
    assert (made["priority"], made["phase"], made["sensitive"], made["actions"]) == (0, "main", False, [LOG])
    listed = metal.get("/inspection_rules").json()["inspection_rules"]
    assert {"uuid", "priority", "phase", "description", "links"} == set(listed[0])
    changes = [
        {"op": "replace", "path": "/priority", "value": 200},
        {"op": "replace", "path": "/sensitive", "value": True},
    ]
    changed = metal.patch(path, json=changes).json()
    assert (changed["priority"], changed["actions"], changed["conditions"]) == (200, None, None)
    unset = [{"op": "replace", "path": "/sensitive", "value": False}]
    assert "cannot have the sensitive flag unset" in fault(metal.patch(path, json=unset), 400)
    assert metal.delete(path).status_code == 204
    fault(metal.get(path), 404)


def test_rules_that_mean_nothing(metal: httpx.Client) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"actions": []}, "should be non-empty"),
        ({"actions": [{"op": "dance", "args": {}}]}, "'dance' is not one of"),
        ({"actions": [{"op": "fail", "args": {}}]}, "missing required argument(s): msg"),
        ({"actions": [{"op": "fail", "args": {"msg": "x", "y": 1}}]}, "unexpected argument(s): y"),
        ({"conditions": [{"op": "!!eq", "args": [[]]}]}, "Multiple exclamation marks"),
        ({"conditions": [{"op": "eq"}]}, "'args' is a required property"),
        ({"phase": "early"}, "Invalid phase"),
        *(({"priority": value}, "") for value in (-1, 10000, 5000.5)),
    ]
    for body, text in bad:
        assert text in fault(metal.post("/inspection_rules", json={"actions": [LOG]} | body), 400), body


def test_an_inspected_node_is_as_its_rules_say(metal: httpx.Client, cloud: Running) -> None:
    condition = {"op": "eq", "args": {"values": ["{node.name}", "ruled"]}}
    rule = make(metal, conditions=[condition], actions=[
        {"op": "set-attribute", "args": {"path": "driver_info/deploy_password", "value": "{inventory.cpu.count}"}},
        {"op": "set-attribute", "args": {"path": "resource_class", "value": "c{inventory[cpu][count]}"}},
        {"op": "set-attribute", "args": {"path": "boot_interface", "value": "pxe"}},
        {"op": "add-trait", "args": {"name": "CUSTOM_SEEN"}},
    ])  # fmt: skip
    refusal = make(metal, conditions=[{"op": "eq", "args": {"values": ["{node.name}", "refused"]}}],
                   actions=[{"op": "fail", "args": {"msg": "Not in this house."}}])  # fmt: skip
    nodes = {name: enrol(metal, name=name, inspect_interface="agent")["uuid"] for name in ("ruled", "refused", "other")}
    for target in ("manage", "inspect"):
        for node in nodes.values():
            verb(metal, node, target)
        cloud.settle()
    seen = {name: metal.get(f"/nodes/{node}").json() for name, node in nodes.items()}
    ruled, refused, other = seen["ruled"], seen["refused"], seen["other"]
    assert (ruled["resource_class"], ruled["boot_interface"], ruled["traits"]) == ("c8", "pxe", ["CUSTOM_SEEN"])
    assert ruled["driver_info"] == {"deploy_password": "******"} and ruled["properties"]["cpus"] == 8
    assert (refused["provision_state"], refused["last_error"]) == ("inspect failed", "Not in this house.")
    assert (other["provision_state"], other["resource_class"], other["traits"]) == ("manageable", None, [])
    for made in (rule, refusal):
        assert metal.delete(f"/inspection_rules/{made['uuid']}").status_code == 204


def test_a_sensitive_rule_is_kept_encrypted_and_applied(metal: httpx.Client, cloud: Running) -> None:
    condition = {"op": "eq", "args": {"values": ["{node.name}", "trusted"]}}
    action = {"op": "set-attribute", "args": {"path": "extra/told", "value": "hush-1"}}
    made = make(metal, sensitive=True, conditions=[condition], actions=[action])
    assert (made["conditions"], made["actions"]) == (None, None)
    path = f"/inspection_rules/{made['uuid']}"
    changes = [{"op": "replace", "path": "/actions/0/args/value", "value": "hush-2"}]
    assert metal.patch(path, json=changes).json()["actions"] is None

    async def kept() -> str:
        return str(await RULE.get(cloud.hagane.cloud.db, id=made["uuid"]))

    assert "hush" not in cloud.run(kept)
    node = enrol(metal, name="trusted", inspect_interface="agent")["uuid"]
    for target in ("manage", "inspect"):
        verb(metal, node, target)
        cloud.settle()
    assert metal.get(f"/nodes/{node}").json()["extra"] == {"told": "hush-2"}
    assert metal.delete(path).status_code == 204
