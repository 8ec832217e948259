"""Network flavors: administrators make them, projects choose routers by them."""

from typing import Any

from tests.api.network.net import ZERO, Net

DRIVER = "neutron.services.ovn_l3.service_providers.ovn.OvnDriver"


def make(root: Net, kind: str, **values: Any) -> dict[str, Any]:
    return dict(root.ask("POST", f"/{kind}s", {kind: values}, 201)[kind])


def test_a_router_is_made_in_a_flavor(root: Net, alice: Net) -> None:
    profile = make(root, "service_profile", driver=DRIVER, description="d")
    assert profile == {"id": profile["id"], "description": "d", "driver": DRIVER, "metainfo": "", "enabled": True,
                       "flavors": []}  # fmt: skip
    flavor = make(root, "flavor", name="fast", service_type="L3_ROUTER_NAT")
    assert flavor == {"id": flavor["id"], "name": "fast", "description": "", "service_type": "L3_ROUTER_NAT",
                      "enabled": True, "service_profiles": []}  # fmt: skip
    path, wanted = f"/flavors/{flavor['id']}", {"router": {"name": "r", "flavor_id": flavor["id"]}}
    alice.refused("POST", "/routers", wanted, 404, "FlavorServiceProfileBindingNotFound")
    body = {"service_profile": {"id": profile["id"]}}
    root.ask("POST", f"{path}/service_profiles", body, 201)
    root.refused("POST", f"{path}/service_profiles", body, 409, "FlavorServiceProfileBindingExists")
    assert root.get(f"/service_profiles/{profile['id']}")["service_profile"]["flavors"] == [flavor["id"]]
    assert alice.get(path)["flavor"]["service_profiles"] == [profile["id"]]
    assert alice.get(f"{path}/next_providers")["next_providers"] == [{"driver": DRIVER, "provider": "ovn"}]
    router = alice.ask("POST", "/routers", wanted, 201)["router"]
    assert (router["flavor_id"], alice.make("router")["flavor_id"]) == (flavor["id"], None)
    text = f"Flavor {flavor['id']} is used by some service instance."
    root.refused("DELETE", path, None, 409, "FlavorInUse", text)
    root.refused("DELETE", f"/service_profiles/{profile['id']}", None, 409, "ServiceProfileInUse")
    root.ask("PUT", path, {"flavor": {"enabled": False}})
    alice.refused("POST", "/routers", wanted, 503, "FlavorDisabled", "Flavor is not enabled.")
    alice.delete("router", router)
    root.ask("DELETE", f"{path}/service_profiles/{profile['id']}", status=204)
    root.refused("DELETE", f"{path}/service_profiles/{profile['id']}", None, 404, "FlavorServiceProfileBindingNotFound")
    root.ask("DELETE", path, status=204)
    root.ask("DELETE", f"/service_profiles/{profile['id']}", status=204)


def test_flavors_that_cannot_be_are_refused(root: Net, alice: Net) -> None:
    root.refused("POST", "/service_profiles", {"service_profile": {}}, 400, "ServiceProfileEmpty")
    foreign = {"service_profile": {"driver": "dvr"}}
    root.refused("POST", "/service_profiles", foreign, 404, "ServiceProfileDriverNotFound", "driver dvr could not")
    bad = {"flavor": {"service_type": "BOGUS"}}
    root.refused("POST", "/flavors", bad, 400, "HTTPBadRequest", "No plugin for service type")
    alice.refused("POST", "/flavors", {"flavor": {"service_type": "QOS"}}, 403, "PolicyNotAuthorized")
    alice.refused("POST", "/routers", {"router": {"flavor_id": ZERO}}, 404, "FlavorNotFound")
    assert alice.get("/service_profiles")["service_profiles"] == []
    other = make(root, "flavor", service_type="QOS")
    alice.refused("POST", "/routers", {"router": {"flavor_id": other["id"]}}, 400, "InvalidServiceType")
    root.delete("flavor", other)
