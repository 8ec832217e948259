"""Which stored policy an endpoint goes by: its own, its region's, that of the region above, its service's."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

V3 = "/identity/v3"


def make(http: httpx.Client, kind: str, plural: str = "", **attributes: Any) -> str:
    answer = http.post(f"{V3}/{plural or kind + 's'}", json={kind: attributes})
    assert answer.status_code == 201, answer.text
    return str(answer.json()[kind]["id"])


class Scene:
    """A service with an endpoint in a region below another one."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.service = make(http, "service", type=uuid4().hex, name="x")
        self.above = make(http, "region")
        self.region = make(http, "region", parent_region_id=self.above)
        self.endpoint = make(http, "endpoint", service_id=self.service, region_id=self.region, interface="public",
                             url="https://x")  # fmt: skip

    def policy(self) -> str:
        return make(self.http, "policy", "policies", type="text/plain", blob="x")

    def place(self, policy: str, path: str) -> str:
        return f"{V3}/policies/{policy}/OS-ENDPOINT-POLICY/{path}"

    def associated(self, path: str) -> str:
        policy = self.policy()
        assert self.http.put(self.place(policy, path)).status_code == 204
        return policy

    def effective(self) -> str:
        answer = self.http.get(f"{V3}/endpoints/{self.endpoint}/OS-ENDPOINT-POLICY/policy")
        return str(answer.json()["policy"]["id"]) if answer.status_code == 200 else str(answer.status_code)

    def governed(self, policy: str) -> list[str]:
        return [entry["id"] for entry in self.http.get(self.place(policy, "endpoints")).json()["endpoints"]]


@pytest.fixture
def scene(http: httpx.Client) -> Scene:
    return Scene(http)


def test_the_nearest_policy_counts(scene: Scene) -> None:
    assert scene.effective() == "404"
    service = f"services/{scene.service}"
    places = (service, f"{service}/regions/{scene.above}", f"{service}/regions/{scene.region}",
              f"endpoints/{scene.endpoint}")  # fmt: skip
    for place in places:
        policy = scene.associated(place)
        assert scene.effective() == policy
        assert scene.governed(policy) == [scene.endpoint]
        assert scene.http.head(scene.place(policy, place)).status_code == 204


def test_a_place_has_one_policy(scene: Scene) -> None:
    place = f"endpoints/{scene.endpoint}"
    first, second = scene.associated(place), scene.associated(place)
    assert scene.http.get(scene.place(first, place)).json()["error"]["message"] == "Could not find policy association."
    assert scene.http.delete(scene.place(first, place)).status_code == 204
    assert scene.effective() == second
    assert scene.http.delete(scene.place(second, place)).status_code == 204
    assert scene.effective() == "404"


@pytest.mark.parametrize("what", ["policies", "endpoints", "services", "regions"])
def test_what_is_deleted_takes_its_associations_along(scene: Scene, what: str) -> None:
    lone = make(scene.http, "region")
    place = f"endpoints/{scene.endpoint}" if what == "endpoints" else f"services/{scene.service}/regions/{lone}"
    policy = scene.associated(place)
    key = {"policies": policy, "endpoints": scene.endpoint, "services": scene.service, "regions": lone}[what]
    assert scene.http.delete(f"{V3}/{what}/{key}").status_code == 204
    assert scene.http.get(scene.place(policy, place)).status_code == 404


@pytest.mark.parametrize("path", ["endpoints/nope", "services/nope", "services/nope/regions/nope"])
def test_places_that_are_not_there(scene: Scene, path: str) -> None:
    assert scene.http.put(scene.place(scene.policy(), path)).status_code == 404
