"""Runbooks: approved steps, by traits; and their use in a manual cleaning."""

import httpx

from tests.api.baremetal.test_node import enrol, fault, verb
from tests.support import Running

STEP = {"interface": "bios", "step": "apply", "args": {}, "order": 1}


def test_a_runbook_cleans_a_node_of_its_trait(metal: httpx.Client, cloud: Running) -> None:
    made = metal.post("/runbooks", json={"name": "wipe", "steps": [STEP | {"order": 2, "step": "last"}, STEP]}).json()
    assert made["owner"] is None and made["traits"] == [] and made["public"] is False
    assert fault(metal.post("/runbooks", json={"name": "wipe", "steps": [STEP]}), 409) == (
        "A runbook with name wipe already exists."
    )
    node = enrol(metal)["uuid"]
    verb(metal, node, "manage")
    cloud.settle()
    assert "has no traits configured" in fault(verb(metal, node, "clean", runbook="wipe"), 400)
    assert metal.put("/runbooks/wipe/traits", json={"traits": ["CUSTOM_WIPE"]}).status_code == 204
    assert "has not been approved" in fault(verb(metal, node, "clean", runbook="wipe"), 400)
    metal.put(f"/nodes/{node}/traits/CUSTOM_WIPE")
    assert "but not both" in fault(verb(metal, node, "clean", runbook="wipe", clean_steps=[{}]), 400)
    assert verb(metal, node, "clean", runbook="wipe").status_code == 202
    cloud.settle()
    shown = metal.get(f"/nodes/{node}").json()
    assert shown["provision_state"] == "manageable"
    assert [step["step"] for step in shown["driver_internal_info"]["clean_steps"]] == ["apply", "last"]
    assert metal.delete("/runbooks/wipe/traits/CUSTOM_WIPE").status_code == 204
    assert metal.delete("/runbooks/wipe").status_code == 204


def test_older_versions_name_runbooks_as_traits(metal: httpx.Client) -> None:
    old = {"X-OpenStack-Ironic-API-Version": "1.92"}
    assert metal.post("/runbooks", json={"name": "plain", "steps": [STEP]}, headers=old).status_code == 400
    made = metal.post("/runbooks", json={"name": "CUSTOM_OLD", "steps": [STEP]}, headers=old)
    assert "traits" not in made.json() and "description" not in made.json()
    assert metal.get("/runbooks", headers={"X-OpenStack-Ironic-API-Version": "1.91"}).status_code == 404
