"""Metadata definitions: namespaces, what is in them, and who sees and writes them."""

from typing import Any
from uuid import uuid4

import httpx
import openstack
import pytest

from tests.api.people import Person

V2 = "/image/v2"
SPACES = f"{V2}/metadefs/namespaces"
PROPERTY = {"title": "Cores", "type": "integer", "minimum": 1, "enum": [1, 2], "items": {"type": "string"}}


def make(http: httpx.Client, **more: Any) -> str:
    body = {"namespace": f"OS::Test::{uuid4().hex[:8]}"} | more
    answer = http.post(SPACES, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"{SPACES}/{body['namespace']}")
    return str(body["namespace"])


def test_a_namespace_with_everything(http: httpx.Client) -> None:
    parts = {"properties": {"cores": PROPERTY}, "tags": [{"name": "a"}],
             "objects": [{"name": "cpu", "required": ["x"], "properties": {"x": PROPERTY}}],
             "resource_type_associations": [{"name": "OS::Nova::Flavor", "prefix": "hw:"}]}  # fmt: skip
    name = make(http, display_name="d", description="e", visibility="public", protected=True, **parts)
    shown = http.get(f"{SPACES}/{name}").json()
    assert shown["self"] == f"/v2/metadefs/namespaces/{name}"
    assert shown["properties"] == {"cores": PROPERTY}
    assert (shown["tags"], shown["protected"], shown["display_name"]) == ([{"name": "a"}], True, "d")
    assert shown["objects"][0]["self"] == f"/v2/metadefs/namespaces/{name}/objects/cpu"
    prefixed = http.get(f"{SPACES}/{name}?resource_type=OS::Nova::Flavor").json()
    assert list(prefixed["properties"]) == ["hw:cores"]
    assert (list(prefixed["objects"][0]["properties"]), prefixed["objects"][0]["required"]) == (["hw:x"], ["hw:x"])
    for path in ("", "/objects", "/tags", "/properties", "/objects/cpu", "/tags/a"):
        refused = http.delete(f"{SPACES}/{name}{path}", headers={"Accept": "text/plain"})
        assert (refused.status_code, "is protected and cannot be deleted" in refused.text) == (403, True)
    changed = http.put(f"{SPACES}/{name}", json={"namespace": name + "x", "visibility": "public"}).json()
    assert (changed["namespace"], changed["protected"], "display_name" in changed) == (name + "x", False, False)
    assert http.get(f"{SPACES}/{name}").status_code == 404
    assert http.get(f"{SPACES}/{name}x").json()["properties"] == {"cores": PROPERTY}
    assert http.delete(f"{SPACES}/{name}x").status_code == 204
    assert http.get(f"{SPACES}/{name}x/objects").status_code == 404


@pytest.mark.parametrize(("kind", "body"), [
    ("objects", {"name": "one", "description": "d", "required": ["x"], "properties": {"x": PROPERTY}}),
    ("properties", {"name": "one"} | PROPERTY),
])  # fmt: skip
def test_parts(http: httpx.Client, kind: str, body: dict[str, Any]) -> None:
    many = f"{SPACES}/{make(http)}/{kind}"
    made = http.post(many, json=body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    assert http.post(many, json=body).status_code == 409
    assert http.get(f"{many}/one").json() == made.json()
    assert http.get(many).json()[kind] in ([made.json()], {"one": made.json()})
    assert http.put(f"{many}/one", json=body | {"name": "two"}).json()["name"] == "two"
    assert http.get(f"{many}/one").status_code == 404
    listed = http.get(many).json()[kind]
    assert (list(listed) if isinstance(listed, dict) else [part["name"] for part in listed]) == ["two"]
    assert http.post(many, json=body).status_code == 201
    assert http.put(f"{many}/one", json=body | {"name": "two"}).status_code == 409
    assert http.delete(f"{many}/two").status_code == 204
    assert http.delete(f"{many}/two").status_code == 404
    assert http.delete(many).status_code == 204
    assert not http.get(many).json()[kind]


def test_tags(http: httpx.Client) -> None:
    many = f"{SPACES}/{make(http)}/tags"

    def names() -> list[str]:
        return [tag["name"] for tag in http.get(many).json()["tags"]]

    assert http.post(many, json={"tags": [{"name": "b"}, {"name": "a"}]}).status_code == 201
    assert http.post(f"{many}/c").status_code == 201
    assert http.post(f"{many}/c").status_code == 409
    assert sorted(names()) == ["a", "b", "c"]
    assert http.put(f"{many}/c", json={"name": "d"}).json()["name"] == "d"
    assert http.post(many, json={"tags": [{"name": "e"}]}, headers={"X-Openstack-Append": "true"}).status_code == 201
    assert names() == ["e", "d", "b", "a"]
    assert http.post(many, json={"tags": [{"name": "f"}]}).status_code == 201
    assert names() == ["f"]
    assert http.get(f"{many}/f").json()["name"] == "f"


def test_resource_types(http: httpx.Client, victim: Person) -> None:
    known = [kind["name"] for kind in victim.http.get(f"{V2}/metadefs/resource_types").json()["resource_types"]]
    assert "OS::Glance::Image" in known
    space = make(http, visibility="public", properties={"x": PROPERTY})
    many = f"{SPACES}/{space}/resource_types"
    assert http.post(many, json={"name": "OS::Glance::Image", "prefix": "hw_"}).status_code == 201
    assert http.post(many, json={"name": "OS::Glance::Image"}).status_code == 409
    assert [kind["prefix"] for kind in victim.http.get(many).json()["resource_type_associations"]] == ["hw_"]
    one = f"{SPACES}/{space}/properties"
    assert victim.http.get(f"{one}/hw_x?resource_type=OS::Glance::Image").json()["name"] == "x"
    assert victim.http.get(f"{one}/x?resource_type=OS::Glance::Image").status_code == 404
    listed = victim.http.get(f"{SPACES}?resource_types=OS::Glance::Image,x").json()["namespaces"]
    assert [entry["namespace"] for entry in listed] == [space]
    assert listed[0]["resource_type_associations"][0]["name"] == "OS::Glance::Image"
    assert http.delete(f"{many}/OS::Glance::Image").status_code == 204
    assert http.delete(f"{many}/OS::Glance::Image").status_code == 404


def test_who_sees_and_who_writes(http: httpx.Client, victim: Person, stranger: Person) -> None:
    private, public = make(http, owner=victim.project_id, tags=[{"name": "a"}]), make(http, visibility="public")

    def seen(who: httpx.Client) -> set[str]:
        return {entry["namespace"] for entry in who.get(SPACES).json()["namespaces"]} & {private, public}

    assert (seen(http), seen(victim.http), seen(stranger.http)) == ({private, public}, {private, public}, {public})
    for path in ("", "/tags", "/tags/a", "/objects", "/properties", "/resource_types"):
        assert victim.http.get(f"{SPACES}/{private}{path}").status_code == 200
        assert stranger.http.get(f"{SPACES}/{private}{path}").status_code == 404
    for answer in (
        victim.http.post(SPACES, json={"namespace": "x"}), victim.http.delete(f"{SPACES}/{private}"),
        victim.http.put(f"{SPACES}/{private}", json={"namespace": "x"}), victim.http.post(f"{SPACES}/{private}/tags/x"),
        victim.http.post(f"{SPACES}/{private}/objects", json={"name": "x"}),
        victim.http.delete(f"{SPACES}/{private}/tags"),
    ):  # fmt: skip
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize(("status", "body"), [
    (400, {}), (400, {"namespace": ""}), (400, {"namespace": "x" * 81}), (400, {"namespace": "x", "colour": "red"}),
    (400, {"namespace": "x", "visibility": "shared"}), (403, {"namespace": "x", "self": "y"}),
    (400, {"namespace": "x", "properties": {"a": {"type": "string"}}}), (400, {"namespace": "x", "tags": ["a"]}),
    (400, {"namespace": "x", "properties": {"a": {"type": "text", "title": "t"}}}),
    (409, {"namespace": "x", "tags": [{"name": "a"}, {"name": "a"}]}),
])  # fmt: skip
def test_bodies_that_cannot_be(http: httpx.Client, status: int, body: dict[str, Any]) -> None:
    assert http.post(SPACES, json=body).status_code == status
    assert http.get(f"{SPACES}/x").status_code == 404


def test_pages(http: httpx.Client) -> None:
    names = sorted(make(http, visibility="public") for _ in range(3))
    found, path = [], f"{SPACES}?limit=1&sort_key=namespace&sort_dir=asc&visibility=public"
    while path:
        page = http.get(path).json()
        found += [entry["namespace"] for entry in page["namespaces"]]
        path = "/image" + page["next"] if "next" in page else ""
    assert [name for name in found if name in names] == names
    for wrong in ("limit=x", "sort_dir=x", "sort_key=x", "visibility=x"):
        assert http.get(f"{SPACES}?{wrong}").status_code == 400
    assert http.get(f"{SPACES}?marker=nothing").status_code == 404


def test_documents(victim: Person) -> None:
    for name, said in (("namespace", "namespace"), ("namespaces", "namespaces"), ("objects", "objects"),
                       ("properties", "properties"), ("resource_type", "resource_type_association"),
                       ("resource_types", "resource_type_associations"), ("tags", "tags")):  # fmt: skip
        assert victim.http.get(f"{V2}/schemas/metadefs/{name}").json()["name"] == said


def test_openstacksdk(admin: openstack.connection.Connection) -> None:
    space = admin.image.create_metadef_namespace(namespace=f"sdk-{uuid4().hex[:6]}", visibility="public")
    admin.image.create_metadef_object(space, name="object", properties={"x": PROPERTY})
    made = admin.image.create_metadef_property(space, name="cores", title="t", type="string")
    assert admin.image.get_metadef_property(made, space).title == "t"
    admin.image.create_metadef_resource_type_association(space, name="OS::Nova::Server")
    assert [entry.name for entry in admin.image.metadef_resource_type_associations(space)] == ["OS::Nova::Server"]
    assert [entry.name for entry in admin.image.metadef_objects(space)] == ["object"]
    assert space.namespace in [entry.namespace for entry in admin.image.metadef_namespaces()]
    admin.image.delete_metadef_namespace(space)
