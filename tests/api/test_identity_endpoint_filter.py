"""Endpoint groups and associations: what a project's catalog shows, and what not."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from hagane.identity.catalog_view import Catalog
from tests.api.people import Person, login, person
from tests.support import Running

V3 = "/identity/v3"
FILTER = f"{V3}/OS-EP-FILTER"
GROUPS = f"{FILTER}/endpoint_groups"


class Scene:
    """A service with three endpoints in a region of its own, and a project with a member."""

    def __init__(self, cloud: Running, http: httpx.Client) -> None:
        self.cloud, self.http, self.who = cloud, http, person(cloud)
        self.project = self.who.project_id
        self.region = http.post(f"{V3}/regions", json={"region": {}}).json()["region"]["id"]
        service = {"service": {"type": uuid4().hex, "name": "filtered"}}
        self.service = http.post(f"{V3}/services", json=service).json()["service"]["id"]
        self.ids = {word: self.endpoint(word) for word in ("public", "internal", "admin")}

    def endpoint(self, interface: str, **more: Any) -> str:
        body = {"service_id": self.service, "region_id": self.region, "interface": interface, "url": "http://x/"}
        answer = self.http.post(f"{V3}/endpoints", json={"endpoint": body | more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["endpoint"]["id"])

    def group(self, **filters: Any) -> str:
        body = {"endpoint_group": {"name": uuid4().hex, "filters": filters}}
        answer = self.http.post(GROUPS, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["endpoint_group"]["id"])

    def seen(self, person: Person | None = None) -> set[str]:
        """Ids of the endpoints in the catalog, which is the same wherever a project's token shows it."""
        who = person or self.who
        token = login(self.cloud, who.user_id, who.project_id)
        shown = httpx.get(f"{self.cloud.url}{V3}/auth/catalog", headers={"X-Auth-Token": token}).json()["catalog"]
        validated = self.http.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": token}).json()["token"]["catalog"]
        assert shown == validated
        return {endpoint["id"] for service in shown for endpoint in service["endpoints"]}

    def all(self) -> set[str]:
        return {row["id"] for row in self.http.get(f"{V3}/endpoints").json()["endpoints"]}

    def one(self, endpoint: str) -> str:
        return f"{FILTER}/projects/{self.project}/endpoints/{endpoint}"


@pytest.fixture
def scene(cloud: Running, http: httpx.Client) -> Iterator[Scene]:
    made = Scene(cloud, http)
    yield made
    made.who.http.close()
    http.delete(f"{V3}/services/{made.service}")


def test_groups_are_kept(scene: Scene) -> None:
    http = scene.http
    body = {"name": "mine", "description": "x", "filters": {"service_id": scene.service, "interface": "public"}}
    made = http.post(GROUPS, json={"endpoint_group": body}).json()["endpoint_group"]
    assert made == body | {"id": made["id"], "links": {"self": f"{scene.cloud.url}{GROUPS}/{made['id']}"}}
    one = f"{GROUPS}/{made['id']}"
    assert http.get(one).json() == {"endpoint_group": made} and http.head(one).status_code == 200
    assert made in http.get(GROUPS).json()["endpoint_groups"]
    assert http.get(f"{GROUPS}?name=mine").json()["endpoint_groups"] == [made]
    change = {"name": "other", "description": None, "filters": {"region_id": scene.region}}
    assert http.patch(one, json={"endpoint_group": change}).json()["endpoint_group"] == made | change
    named = {"name": "third", "filters": None}  # as the openstack client sends it
    assert http.patch(one, json={"endpoint_group": named}).json()["endpoint_group"] == made | change | {"name": "third"}
    assert http.delete(one).status_code == 204
    gone = http.get(one)
    assert gone.status_code == 404 and f"Could not find Endpoint Group: {made['id']}." in gone.text


@pytest.mark.parametrize("body", [
    {}, {"name": "x"}, {"filters": {"interface": "public"}}, {"name": "", "filters": {"interface": "public"}},
    {"name": "x", "filters": {}}, {"name": "x", "filters": None}, {"name": "x", "filters": []},
    {"name": "x", "filters": {"interface": "other"}}, {"name": "x", "filters": {"enabled": True}},
    {"name": "x", "filters": {"service_id": None}}, {"name": "x", "filters": {"service_id": 1}},
    {"name": "x", "filters": {"url": "http://x/"}}, {"name": "x", "filters": {"interface": "public"}, "more": 1},
    {"name": "x", "filters": {"interface": "public"}, "description": 1},
])  # fmt: skip
def test_bad_groups_are_refused(http: httpx.Client, body: Any) -> None:
    answer = http.post(GROUPS, json={"endpoint_group": body})
    assert answer.status_code == 400, answer.text
    assert "error" in answer.json()


def test_bad_changes_are_refused(scene: Scene) -> None:
    one = f"{GROUPS}/{scene.group(interface='public')}"
    for body in ({}, {"filters": {"type": "x"}}, {"filters": []}, {"name": None}, {"id": "other"}, {"more": 1}):
        assert scene.http.patch(one, json={"endpoint_group": body}).status_code == 400, body
    assert scene.http.get(one).json()["endpoint_group"]["filters"] == {"interface": "public"}


def test_a_project_sees_what_it_is_associated_with(scene: Scene) -> None:
    http, other = scene.http, person(scene.cloud)
    assert scene.seen() == scene.all()
    for word in ("public", "admin"):
        assert http.put(scene.one(scene.ids[word])).status_code == 204
    assert scene.seen() == {scene.ids["public"], scene.ids["admin"]}
    assert scene.seen(other) == scene.all(), "others see everything still"
    many = f"{FILTER}/projects/{scene.project}/endpoints"
    assert {row["id"] for row in http.get(many).json()["endpoints"]} == scene.seen()
    check = http.get(scene.one(scene.ids["admin"]))
    assert check.status_code == 204 and http.head(scene.one(scene.ids["admin"])).status_code == 204
    again = http.put(scene.one(scene.ids["admin"]))
    assert again.status_code == 409 and "project_endpoint" in again.text
    whose = http.get(f"{FILTER}/endpoints/{scene.ids['admin']}/projects").json()["projects"]
    assert [row["id"] for row in whose] == [scene.project]
    assert http.delete(scene.one(scene.ids["admin"])).status_code == 204
    assert http.get(scene.one(scene.ids["admin"])).status_code == 404
    assert http.delete(scene.one(scene.ids["admin"])).status_code == 404
    assert scene.seen() == {scene.ids["public"]}
    http.delete(scene.one(scene.ids["public"]))
    assert scene.seen() == scene.all()
    other.http.close()


def test_a_service_without_endpoints_is_not_shown_to_a_filtered_project(scene: Scene) -> None:
    scene.http.put(scene.one(scene.ids["public"]))
    token = login(scene.cloud, scene.who.user_id, scene.project)
    shown = httpx.get(f"{scene.cloud.url}{V3}/auth/catalog", headers={"X-Auth-Token": token}).json()["catalog"]
    assert [service["id"] for service in shown] == [scene.service]
    scene.http.patch(f"{V3}/endpoints/{scene.ids['public']}", json={"endpoint": {"enabled": False}})
    assert scene.seen() == set(), "an association with what is disabled is one still"


def test_a_group_gives_what_fits_now_and_later(scene: Scene) -> None:
    http = scene.http
    group = scene.group(service_id=scene.service, interface="public")
    pair = f"{GROUPS}/{group}/projects/{scene.project}"
    assert http.get(pair).status_code == 404
    assert http.put(pair).status_code == 204 and http.put(pair).status_code == 409
    shown = http.get(pair).json()["project_endpoint_group"]
    assert shown == {"endpoint_group_id": group, "project_id": scene.project,
                     "links": {"self": f"{scene.cloud.url}{pair}"}}  # fmt: skip
    assert http.head(pair).status_code == 200
    assert scene.seen() == {scene.ids["public"]}
    later = scene.endpoint("public")
    assert scene.seen() == {scene.ids["public"], later}
    http.put(scene.one(scene.ids["admin"]))
    assert scene.seen() == {scene.ids["public"], scene.ids["admin"], later}
    own = http.get(f"{FILTER}/projects/{scene.project}/endpoints").json()["endpoints"]
    assert {row["id"] for row in own} == scene.seen()
    assert [row["id"] for row in http.get(f"{FILTER}/projects/{scene.project}/endpoint_groups").json()[
        "endpoint_groups"]] == [group]  # fmt: skip
    assert [row["id"] for row in http.get(f"{GROUPS}/{group}/projects").json()["projects"]] == [scene.project]
    fitting = http.get(f"{GROUPS}/{group}/endpoints").json()["endpoints"]
    assert {row["id"] for row in fitting} == {scene.ids["public"], later}
    assert all(row["links"]["self"].endswith(f"{V3}/endpoints/{row['id']}") for row in fitting)
    http.patch(f"{GROUPS}/{group}", json={"endpoint_group": {"filters": {"region_id": scene.region}}})
    assert scene.seen() == {*scene.ids.values(), later}
    http.patch(f"{GROUPS}/{group}", json={"endpoint_group": {"filters": {"region_id": "nowhere"}}})
    assert scene.seen() == {scene.ids["admin"]}
    http.delete(scene.one(scene.ids["admin"]))
    assert scene.seen() == scene.all(), "what leads to no endpoint is no filter"
    http.patch(f"{GROUPS}/{group}", json={"endpoint_group": {"filters": {"service_id": scene.service}}})
    assert http.delete(pair).status_code == 204 and http.delete(pair).status_code == 404
    assert scene.seen() == scene.all()


def test_the_end_of_a_thing_ends_its_associations(scene: Scene) -> None:
    http, group = scene.http, scene.group(interface="admin", service_id=scene.service)
    http.put(f"{GROUPS}/{group}/projects/{scene.project}")
    http.put(scene.one(scene.ids["public"]))
    assert http.delete(f"{GROUPS}/{group}").status_code == 204
    assert scene.seen() == {scene.ids["public"]}
    http.delete(f"{V3}/endpoints/{scene.ids['public']}")
    assert scene.seen() == scene.all()
    http.put(scene.one(scene.ids["admin"]))
    http.delete(f"{V3}/services/{scene.service}")
    assert scene.seen() == scene.all()
    group, project = scene.group(interface="public"), scene.project
    http.put(f"{GROUPS}/{group}/projects/{project}")
    http.delete(f"{V3}/projects/{project}")
    assert http.get(f"{GROUPS}/{group}/projects").json()["projects"] == []


def test_what_does_not_exist_is_said(scene: Scene) -> None:
    group, none = scene.group(interface="public"), uuid4().hex
    for method in ("GET", "PUT", "DELETE"):
        for path in (f"{FILTER}/projects/{none}/endpoints/{scene.ids['public']}", scene.one(none),
                     f"{GROUPS}/{none}/projects/{scene.project}", f"{GROUPS}/{group}/projects/{none}"):  # fmt: skip
            answer = scene.http.request(method, path)
            assert answer.status_code == 404 and none in answer.text, (method, path, answer.text)
    for path in (f"{FILTER}/projects/{none}/endpoints", f"{FILTER}/projects/{none}/endpoint_groups",
                 f"{FILTER}/endpoints/{none}/projects", f"{GROUPS}/{none}/endpoints"):  # fmt: skip
        assert scene.http.get(path).status_code == 404, path


def test_members_may_not(scene: Scene) -> None:
    group = scene.group(interface="public")
    for method, path in (
        ("GET", GROUPS), ("POST", GROUPS), ("GET", f"{GROUPS}/{group}"), ("PATCH", f"{GROUPS}/{group}"),
        ("DELETE", f"{GROUPS}/{group}"), ("PUT", scene.one(scene.ids["public"])),
        ("GET", f"{FILTER}/projects/{scene.project}/endpoints"), ("GET", f"{GROUPS}/{group}/endpoints"),
        ("PUT", f"{GROUPS}/{group}/projects/{scene.project}"),
    ):  # fmt: skip
        body = {"endpoint_group": {"name": "x", "filters": {"interface": "public"}}}
        answer = scene.who.http.request(method, path, json=body if method in ("POST", "PATCH") else None)
        assert answer.status_code == 403, (method, path, answer.text)


def test_a_catalog_is_read_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tokens of filtered projects nor those of others cost a query once their catalog is known."""
    scene.http.put(scene.one(scene.ids["public"]))
    assert scene.seen() == {scene.ids["public"]}

    async def read(self: Catalog, *args: Any) -> Any:
        raise AssertionError("the catalog was read again")

    monkeypatch.setattr(Catalog, "_read", read)
    monkeypatch.setattr(Catalog, "_seen", read)
    assert scene.seen() == {scene.ids["public"]}
