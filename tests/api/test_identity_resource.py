"""Domains, projects, users, groups, roles and the catalog over HTTP: shapes, filters, exact refusals, cascades."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import openstack
import pytest

V3 = "/identity/v3"


def make(http: httpx.Client, kind: str, **attributes: Any) -> dict[str, Any]:
    attributes.setdefault("name", f"{kind}-{uuid4().hex[:8]}")
    answer = http.post(f"{V3}/{kind}s", json={kind: attributes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()[kind]
    return made


def refused(answer: httpx.Response, status: int, text: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (status, status, text)


@pytest.fixture(scope="module")
def domain(http: httpx.Client) -> str:
    return str(make(http, "domain")["id"])


SHAPES: dict[str, set[str]] = {
    "domain": {"id", "name", "description", "enabled", "tags", "options", "links"},
    "project": {"id", "name", "domain_id", "description", "enabled", "parent_id", "is_domain", "tags", "options", "links"},
    "user": {"id", "name", "domain_id", "enabled", "password_expires_at", "options", "links"},
    "group": {"id", "name", "domain_id", "description", "links"},
    "role": {"id", "name", "domain_id", "description", "options", "links"},
}  # fmt: skip


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes(http: httpx.Client, kind: str) -> None:
    made = make(http, kind)
    path = f"{V3}/{kind}s/{made['id']}"
    assert set(made) == SHAPES[kind]
    assert made["links"]["self"] == f"{http.base_url}{path}".replace("//identity", "/identity")
    assert http.get(path).json() == {kind: made}
    found = http.get(f"{V3}/{kind}s?name={made['name']}").json()
    assert found[f"{kind}s"] == [made]
    assert set(found["links"]) == {"self", "next", "previous"}
    changed = http.patch(path, json={kind: {"name": made["name"] + "-new"}})
    assert changed.json() == {kind: made | {"name": made["name"] + "-new"}}


@pytest.mark.parametrize("kind", ["domain", "project", "user", "group", "role"])
def test_attributes_nobody_knows_are_kept(http: httpx.Client, kind: str) -> None:
    made = make(http, kind, color="red", nested={"a": [1]})
    path = f"{V3}/{kind}s/{made['id']}"
    http.patch(path, json={kind: {"color": "blue", "size": 3}})
    shown = http.get(path).json()[kind]
    assert (shown["color"], shown["nested"], shown["size"]) == ("blue", {"a": [1]}, 3)


@pytest.mark.parametrize("kind", ["domain", "project", "user", "group", "role"])
def test_what_is_not_there(http: httpx.Client, kind: str) -> None:
    for answer in (http.get(f"{V3}/{kind}s/nope"), http.delete(f"{V3}/{kind}s/nope"),
                   http.patch(f"{V3}/{kind}s/nope", json={kind: {"name": "x"}})):  # fmt: skip
        refused(answer, 404, f"Could not find {kind}: nope.")


def test_names_are_taken_once(http: httpx.Client, domain: str) -> None:
    for kind in ("user", "group"):
        made = make(http, kind, domain_id=domain)
        answer = http.post(f"{V3}/{kind}s", json={kind: {"name": made["name"], "domain_id": domain}})
        text = f"Duplicate entry found with name {made['name']} at domain ID {domain}."
        refused(answer, 409, f"Conflict occurred attempting to store {kind} - {text}")
        make(http, kind, name=made["name"])  # in another domain
    role = make(http, "role")
    answer = http.post(f"{V3}/roles", json={"role": {"name": role["name"]}})
    refused(
        answer, 409, f"Conflict occurred attempting to store role - Duplicate entry found with name {role['name']}."
    )
    answer = http.post(f"{V3}/domains", json={"domain": {"name": "Default"}})
    text = "it is not permitted to have two projects acting as domains with the same name: Default."
    refused(answer, 409, f"Conflict occurred attempting to store project - {text}")


def test_of_fifty_who_want_one_name_one_gets_it(http: httpx.Client) -> None:
    name = uuid4().hex

    def attempt(number: int) -> int:
        return http.post(f"{V3}/projects", json={"project": {"name": name}}).status_code

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(attempt, range(50)))
    assert sorted(set(codes)) == [201, 409]
    assert codes.count(201) == 1


BAD = [
    ("project", {"name": ""}, "Invalid input for field/attribute name. Value: . '' is too short"),
    ("project", {"name": 5}, "Invalid input for field/attribute name. Value: 5. 5 is not of type 'string'"),
    ("project", {}, "Invalid input for field/attribute project. Value: {}. 'name' is a required property"),
    ("project", {"name": "x", "tags": ["a,b"]},
     "Invalid input for field/attribute 0. Value: a,b. 'a,b' does not match '^[^,/]*$'"),
    ("project", {"name": "x", "domain_id": "nope"}, "Could not find domain: nope."),
    ("project", {"name": "x", "parent_id": "nope"}, "Could not find project: nope."),
    ("project", {"name": "x", "enabled": "perhaps"},
     "Invalid input for field/attribute enabled. Value: perhaps. 'perhaps' is not a boolean"),
    ("project", {"name": "x", "options": {"foo": 1}},
     "Invalid input for field/attribute options. Value: {'foo': 1}."
     " Additional properties are not allowed ('foo' was unexpected)"),
    ("user", {"name": "x", "default_project_id": "default"}, "User's default project ID cannot be a domain ID: default"),
    ("user", {"name": "x", "password": 5}, "Invalid input for field/attribute password. Value: ***. It is wrong."),
    ("domain", {"name": "x", "explicit_domain_id": "zz"}, "Domain ID does not conform to required UUID format."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "attributes", "text"), BAD)
def test_bad_values(http: httpx.Client, kind: str, attributes: dict[str, Any], text: str) -> None:
    before = len(http.get(f"{V3}/{kind}s").json()[f"{kind}s"])
    refused(http.post(f"{V3}/{kind}s", json={kind: attributes}), 400, text)
    assert len(http.get(f"{V3}/{kind}s").json()[f"{kind}s"]) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'"x"', b'{"user": []}', b'{"user": null}', b"{}"])
def test_bodies_that_are_none(http: httpx.Client, content: bytes) -> None:
    assert http.post(f"{V3}/users", content=content).status_code == 400


def test_what_cannot_change(http: httpx.Client, domain: str) -> None:
    project = make(http, "project", domain_id=domain)
    path = f"{V3}/projects/{project['id']}"
    refused(http.patch(path, json={"project": {"domain_id": "default"}}), 400, "Cannot change Domain ID")
    refused(http.patch(path, json={"project": {"parent_id": "default"}}), 403, "Update of `parent_id` is not allowed.")
    refused(http.patch(path, json={"project": {"is_domain": True}}), 400, "Update of `is_domain` is not allowed.")
    refused(http.patch(path, json={"project": {"id": "other"}}), 400, "Cannot change ID")
    # What an earlier answer said may come back.
    assert http.patch(path, json={"project": project}).status_code == 200


def test_immutable_things_stay(http: httpx.Client) -> None:
    role = http.get(f"{V3}/roles?name=member").json()["roles"][0]
    path = f"{V3}/roles/{role['id']}"
    end = f'immutable role resource: `{role["id"]}. Set resource option "immutable" to false first.'
    refused(http.patch(path, json={"role": {"name": "x"}}), 403, f"Unable to update {end}")
    refused(http.delete(path), 403, f"Unable to delete {end}")
    project = make(http, "project", options={"immutable": True})
    path = f"{V3}/projects/{project['id']}"
    assert http.delete(path).status_code == 403
    assert http.patch(path, json={"project": {"options": {"immutable": False}}}).status_code == 200
    assert http.delete(path).status_code == 204


def test_filters(http: httpx.Client, domain: str) -> None:
    for name in ("Alpha", "alphabet", "beta%", "ga_ma"):
        make(http, "user", name=name, domain_id=domain, enabled=name != "beta%")

    def names(query: str) -> list[str]:
        answer = http.get(f"{V3}/users?domain_id={domain}&{query}")
        return sorted(user["name"] for user in answer.json()["users"] if user["name"] in
                      ("Alpha", "alphabet", "beta%", "ga_ma"))  # fmt: skip

    assert names("name=Alpha") == ["Alpha"]
    assert names("name__contains=lpha") == ["Alpha", "alphabet"]
    assert names("name__startswith=alpha") == ["alphabet"]
    assert names("name__istartswith=ALPHA") == ["Alpha", "alphabet"]
    assert names("name__endswith=%25") == ["beta%"]
    assert names("name__contains=_") == ["ga_ma"]
    assert names("name__unheard=x") == ["Alpha", "alphabet", "beta%", "ga_ma"]
    assert names("enabled=false") == ["beta%"]
    assert names("enabled") == ["Alpha", "alphabet", "ga_ma"]
    assert http.get(f"{V3}/users?name=").status_code == 400
    assert http.get(f"{V3}/users?enabled=perhaps").status_code == 400
    assert http.get(f"{V3}/projects?domain_id=$$").status_code == 400


def test_paging_by_links(http: httpx.Client) -> None:
    domain = make(http, "domain")["id"]
    made = {make(http, "group", domain_id=domain)["id"] for _ in range(7)}
    seen: list[str] = []
    url = f"{V3}/groups?domain_id={domain}&limit=3"
    while url:
        page = http.get(url).json()
        assert len(page["groups"]) <= 3
        seen += [group["id"] for group in page["groups"]]
        assert page.get("truncated", False) is (page["links"]["next"] is not None)
        url = page["links"]["next"]
    assert (len(seen), set(seen)) == (7, made)
    refused(http.get(f"{V3}/groups?marker=nope"), 404, "Marker nope could not be found.")
    assert http.get(f"{V3}/groups?limit=x").status_code == 400


def test_the_tree_of_projects(http: httpx.Client) -> None:
    top = make(http, "domain")["id"]
    chain = [top]
    for _ in range(5):
        chain.append(make(http, "project", domain_id=top, parent_id=chain[-1])["id"])
    answer = http.post(f"{V3}/projects", json={"project": {"name": "x", "domain_id": top, "parent_id": chain[-1]}})
    refused(answer, 403, f"Max hierarchy depth reached for {chain[-1]} branch.")
    shown = http.get(f"{V3}/projects/{chain[2]}?parents_as_ids&subtree_as_ids").json()["project"]
    assert shown["parents"] == {chain[1]: {top: None}}
    assert shown["subtree"] == {chain[3]: {chain[4]: {chain[5]: None}}}
    assert http.get(f"{V3}/projects/{chain[2]}?parents_as_list").json()["project"]["parents"] == []
    answer = http.get(f"{V3}/projects/{chain[2]}?parents_as_list&parents_as_ids")
    refused(answer, 400, "Cannot use parents_as_list and parents_as_ids query params at the same time.")
    assert [p["id"] for p in http.get(f"{V3}/projects?parent_id={chain[1]}").json()["projects"]] == [chain[2]]
    path = f"{V3}/projects/{chain[1]}"
    answer = http.patch(path, json={"project": {"enabled": False}})
    refused(answer, 403, f"Cannot disable project {chain[1]} since its subtree contains enabled projects.")
    assert http.delete(path).status_code == 403
    for project in reversed(chain[2:]):
        assert http.patch(f"{V3}/projects/{project}", json={"project": {"enabled": False}}).status_code == 200
    assert http.patch(path, json={"project": {"enabled": False}}).status_code == 200
    answer = http.patch(f"{V3}/projects/{chain[2]}", json={"project": {"enabled": True}})
    refused(answer, 403, f"Cannot enable project {chain[2]} since it has disabled parents")
    answer = http.post(f"{V3}/projects", json={"project": {"name": "x", "domain_id": top, "parent_id": chain[1]}})
    text = "cannot create a project in a branch containing a disabled project:"
    refused(answer, 400, f"{text} {chain[1]}")


def test_a_project_that_is_a_domain(http: httpx.Client) -> None:
    made = make(http, "project", is_domain=True)
    assert (made["is_domain"], made["domain_id"], made["parent_id"]) == (True, None, None)
    assert http.get(f"{V3}/domains/{made['id']}").json()["domain"]["name"] == made["name"]
    assert made["id"] not in [p["id"] for p in http.get(f"{V3}/projects").json()["projects"]]
    assert made["id"] in [p["id"] for p in http.get(f"{V3}/projects?is_domain=true").json()["projects"]]
    assert http.get(f"{V3}/domains/{make(http, 'project')['id']}").status_code == 404


def test_tags(http: httpx.Client) -> None:
    one = make(http, "project", tags=["blue", "red"])["id"]
    two = make(http, "project", tags=["blue", "green"])["id"]

    def found(query: str) -> set[str]:
        return {p["id"] for p in http.get(f"{V3}/projects?{query}").json()["projects"]} & {one, two}

    assert found("tags=blue") == {one, two}
    assert found("tags=blue,red") == {one}
    assert found("tags-any=red,green") == {one, two}
    assert found("not-tags=blue,red") == {two}
    assert found("not-tags-any=red") == {two}
    path = f"{V3}/projects/{one}/tags"
    assert http.put(f"{path}/new").status_code == 201
    assert http.get(path).json()["tags"] == ["blue", "red", "new"]
    assert http.get(f"{path}/new").status_code == 204
    assert http.delete(f"{path}/new").status_code == 204
    refused(http.delete(f"{path}/new"), 404, "Could not find project tag: new.")
    assert http.put(path, json={"tags": ["a"]}).json()["tags"] == ["a"]
    assert http.put(path, json={"tags": ["a", "a"]}).status_code == 400
    assert http.put(path, json={"tags": [str(n) for n in range(81)]}).status_code == 400
    assert http.delete(path).status_code == 204
    assert http.get(path).json()["tags"] == []


def test_members_of_groups(http: httpx.Client) -> None:
    group, user = make(http, "group")["id"], make(http, "user")["id"]
    path = f"{V3}/groups/{group}/users/{user}"
    refused(http.get(path), 404, f"User '{user}' not found in group '{group}'")
    assert http.put(path).status_code == http.put(path).status_code == 204
    assert http.head(path).status_code == 204
    assert [u["id"] for u in http.get(f"{V3}/groups/{group}/users").json()["users"]] == [user]
    (seen,) = http.get(f"{V3}/users/{user}/groups").json()["groups"]
    assert (seen["id"], seen["membership_expires_at"]) == (group, None)
    refused(http.put(f"{V3}/groups/{group}/users/nope"), 404, "Could not find user: nope.")
    refused(http.put(f"{V3}/groups/nope/users/{user}"), 404, "Could not find group: nope.")
    assert http.delete(f"{V3}/users/{user}").status_code == 204
    assert http.get(f"{V3}/groups/{group}/users").json()["users"] == []


def test_a_domain_takes_everything_along(http: httpx.Client) -> None:
    domain = make(http, "domain")["id"]
    parent = make(http, "project", domain_id=domain)["id"]
    kept = make(http, "user")["id"]
    gone = {
        "projects": [parent, make(http, "project", domain_id=domain, parent_id=parent)["id"]],
        "users": [make(http, "user", domain_id=domain)["id"]],
        "groups": [make(http, "group", domain_id=domain)["id"]],
        "roles": [make(http, "role", domain_id=domain)["id"]],
    }
    http.put(f"{V3}/projects/{parent}/users/{kept}/roles/{gone['roles'][0]}")
    http.put(f"{V3}/domains/{domain}/users/{kept}/roles/{make(http, 'role')['id']}")
    text = "Cannot delete a domain that is enabled, please disable it first."
    refused(http.delete(f"{V3}/domains/{domain}"), 403, text)
    http.patch(f"{V3}/domains/{domain}", json={"domain": {"enabled": False}})
    assert http.delete(f"{V3}/domains/{domain}").status_code == 204
    for kind, ids in gone.items():
        assert [http.get(f"{V3}/{kind}/{key}").status_code for key in ids] == [404] * len(ids)
    assert http.get(f"{V3}/role_assignments?user.id={kept}").json()["role_assignments"] == []


def test_passwords_are_never_answered(http: httpx.Client) -> None:
    made = http.post(f"{V3}/users", json={"user": {"name": uuid4().hex, "password": "hush-hush"}})
    path = f"{V3}/users/{made.json()['user']['id']}"
    for answer in (
        made,
        http.get(path),
        http.patch(path, json={"user": {"password": "hush-again"}}),
        http.get(f"{V3}/users"),
    ):
        assert "hush" not in answer.text
        assert "$2b$" not in answer.text


def test_a_locked_password_is_not_the_users_to_change(http: httpx.Client) -> None:
    user = make(http, "user", password="pw", options={"lock_password": True})["id"]
    body = {"user": {"original_password": "pw", "password": "new"}}
    answer = http.post(f"{V3}/users/{user}/password", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("You cannot change your password at this time")


def test_regions_services_and_endpoints(http: httpx.Client) -> None:
    region, service = uuid4().hex, make(http, "service", type="thing", name="thing")
    assert set(service) == {"id", "type", "name", "enabled", "links"}
    made = http.post(f"{V3}/regions", json={"region": {"id": region, "description": None}}).json()["region"]
    assert made | {"links": 0} == {"id": region, "description": "", "parent_region_id": None, "links": 0}
    answer = http.post(f"{V3}/regions", json={"region": {"id": region}})
    refused(answer, 409, f"Conflict occurred attempting to store region - Duplicate ID, {region}..")
    child = http.put(f"{V3}/regions/{region}-2", json={"region": {"parent_region_id": region}})
    assert child.status_code == 201
    answer = http.patch(f"{V3}/regions/{region}", json={"region": {"parent_region_id": f"{region}-2"}})
    refused(answer, 400, f"The specified parent region {region} would create a circular region hierarchy.")
    body = {
        "interface": "public",
        "service_id": service["id"],
        "region_id": f"{region}-2",
        "url": "http://h/$(project_id)s",
    }
    endpoint = http.post(f"{V3}/endpoints", json={"endpoint": body}).json()["endpoint"]
    assert set(endpoint) == {"id", "interface", "service_id", "region_id", "region", "url", "enabled", "links"}
    for wrong, text in (
        ({"service_id": "nope"}, "Expecting to find endpoint service_id in service table."),
        ({"region_id": "nope"}, "Expecting to find endpoint region_id in region table."),
        ({"url": "http://h/%(nope)s"}, "Cannot create an endpoint with an invalid URL: http://h/%(nope)s."),
        ({"url": "nowhere"}, "'nowhere' does not match"),
        ({"interface": "odd"}, "'odd' is not one of"),
    ):
        answer = http.post(f"{V3}/endpoints", json={"endpoint": body | wrong})
        assert answer.status_code == 400
        assert text in answer.json()["error"]["message"]
    text = f"Unable to delete region {region} because it or its child regions have associated endpoints."
    refused(http.delete(f"{V3}/regions/{region}"), 403, text)

    def urls() -> list[str]:
        catalog = http.get(f"{V3}/auth/catalog").json()["catalog"]
        return [e["url"] for entry in catalog if entry["id"] == service["id"] for e in entry["endpoints"]]

    token = http.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": http.headers["X-Auth-Token"]}).json()["token"]
    assert urls() == [f"http://h/{token['project']['id']}"]
    http.patch(f"{V3}/endpoints/{endpoint['id']}", json={"endpoint": {"enabled": False}})
    assert urls() == []
    assert http.delete(f"{V3}/services/{service['id']}").status_code == 204
    assert http.get(f"{V3}/endpoints/{endpoint['id']}").status_code == 404
    assert http.delete(f"{V3}/regions/{region}").status_code == 204
    assert http.get(f"{V3}/regions/{region}-2").status_code == 404


def test_with_the_sdk(admin: openstack.connection.Connection) -> None:
    identity = admin.identity
    domain = identity.create_domain(name=uuid4().hex, description="d")
    project = identity.create_project(name="p", domain_id=domain.id, tags=["x"])
    user = identity.create_user(name="u", domain_id=domain.id, password="pw", email="u@example.org")
    group = identity.create_group(name="g", domain_id=domain.id)
    identity.add_user_to_group(user, group)
    role = identity.find_role("member")
    identity.assign_project_role_to_group(project, group, role)
    assert identity.validate_group_has_project_role(project, group, role)
    assert identity.find_user("u", domain_id=domain.id).email == "u@example.org"
    assert [p.id for p in identity.user_projects(user)] == [project.id]
    found = list(identity.role_assignments(user_id=user.id, effective=True, include_names=True))
    assert {entry.role["name"] for entry in found} == {"member", "reader"}
    identity.update_user(user, enabled=False)
    assert identity.get_user(user).is_enabled is False
    identity.update_domain(domain, enabled=False)
    identity.delete_domain(domain)
    assert identity.find_domain(domain.id) is None


def test_a_policy_is_a_text_that_is_kept(http: httpx.Client) -> None:
    path = "/identity/v3/policies"
    assert http.post(path, json={"policy": {"type": "text/plain"}}).status_code == 400
    made = http.post(path, json={"policy": {"type": "text/plain", "blob": "all"}}).json()["policy"]
    assert (made["type"], made["blob"]) == ("text/plain", "all")
    one = f"{path}/{made['id']}"
    assert http.patch(one, json={"policy": {"type": "x"}}).json()["policy"]["type"] == "x"
    assert [entry["id"] for entry in http.get(f"{path}?type=x").json()["policies"]] == [made["id"]]
    assert http.delete(one).status_code == 204
    assert http.get(one).status_code == 404
