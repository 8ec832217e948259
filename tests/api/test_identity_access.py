"""Who may do what: nobody without a token, little as a member, one's own domain as its manager; and grants."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support import Running

V3 = "/identity/v3"


class World:
    """Two domains, `mine` with a manager, a reader and a member, and `theirs`."""

    def __init__(self, cloud: Running, http: httpx.Client) -> None:
        self.cloud, self.http = cloud, http
        self.client = httpx.Client(base_url=cloud.url + V3)
        self.roles = {role["name"]: role["id"] for role in http.get(f"{V3}/roles").json()["roles"]}
        self.mine, self.theirs = (self.make("domain", name=uuid4().hex) for _ in range(2))
        self.project = self.make("project", name="p", domain_id=self.mine)
        self.other = self.make("project", name="p", domain_id=self.theirs)
        self.group = self.make("group", name="g", domain_id=self.mine)
        self.stranger = self.make("user", name="stranger", domain_id=self.theirs)
        self.strangers = self.make("group", name="g", domain_id=self.theirs)
        self.users, self.tokens = {}, {}
        for role in ("manager", "reader", "member", "admin"):
            self.users[role] = self.make("user", name=role, domain_id=self.mine, password="pw")
            http.put(f"{V3}/domains/{self.mine}/users/{self.users[role]}/roles/{self.roles[role]}")
            self.tokens[role] = self.login(role, {"domain": {"id": self.mine}})
        http.put(f"{V3}/projects/{self.project}/users/{self.users['member']}/roles/{self.roles['member']}")
        self.tokens["project member"] = self.login("member", {"project": {"id": self.project}})
        self.tokens["unscoped"] = self.login("member", "unscoped")

    def make(self, kind: str, **attributes: Any) -> str:
        answer = self.http.post(f"{V3}/{kind}s", json={kind: attributes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()[kind]["id"])

    def login(self, name: str, scope: Any) -> str:
        user = {"id": self.users[name], "password": "pw"}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
        answer = self.client.post("/auth/tokens", json={"auth": auth})
        assert answer.status_code == 201, answer.text
        return answer.headers["x-subject-token"]

    def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(method, path, json=body, headers={"X-Auth-Token": self.tokens[who]})


@pytest.fixture(scope="module")
def world(cloud: Running, http: httpx.Client) -> Iterator[World]:
    made = World(cloud, http)
    yield made
    made.client.close()


def routes(cloud: Running) -> list[tuple[str, str, bool, str]]:
    service = next(s for s in cloud.hagane.app.services if s.type == "identity")
    return [(route.method, route.path, route.auth, route.rule) for route in service.routes]


def fill(path: str) -> str:
    return "/".join("x" if segment.startswith("{") else segment for segment in path.split("/"))


def test_every_route_wants_a_token_or_says_why_not(cloud: Running) -> None:
    open_to_all = set()
    with httpx.Client(base_url=cloud.url) as client:
        for method, path, auth, _ in routes(cloud):
            if not auth:
                open_to_all.add((method, path))
                continue
            answer = client.request(method, fill(path))
            assert answer.status_code == 401, (method, path)
            assert answer.content == b"" or answer.json()["error"]["title"] == "Unauthorized"
    assert open_to_all == {
        ("GET", "/identity"), ("GET", "/identity/"), ("GET", V3), ("GET", V3 + "/"),
        ("POST", f"{V3}/auth/tokens"), ("POST", f"{V3}/users/{{id}}/password"),
        ("POST", f"{V3}/OS-OAUTH1/request_token"), ("POST", f"{V3}/OS-OAUTH1/access_token"),
    }  # fmt: skip


OPEN = {"identity:get_auth_catalog", "identity:get_auth_projects", "identity:get_auth_domains", "identity:get_auth_system",
        "identity:list_regions", "identity:get_region", "identity:list_registered_limits",
        "identity:get_registered_limit", "identity:list_limits", "identity:get_limit_model",
        "identity:list_credentials"}  # fmt: skip
"""Rules that let everybody pass who has a token; of limits and credentials, everybody lists their own."""


@pytest.mark.parametrize("who", ["project member", "unscoped", "member"])
def test_a_member_gets_nowhere_with_others_things(cloud: Running, world: World, who: str) -> None:
    """Every route, with ids of things that are not the caller's: 403, or 404 where existence comes first."""
    values = {"users": world.stranger, "groups": world.strangers, "domains": world.theirs, "projects": world.other,
              "roles": world.roles["service"], "regions": "RegionOne"}  # fmt: skip
    lists = {f"identity:list_{kind}" for kind in ("users", "projects", "groups", "domains", "role_assignments")}
    for method, path, auth, rule in routes(cloud):
        if not auth or rule in OPEN or rule.endswith(("_token", "application_credential", "application_credentials")):
            continue
        segments = path.split("/")
        filled = [values.get(segments[n - 1], world.roles["reader"]) if s.startswith("{") else s
                  for n, s in enumerate(segments)]  # fmt: skip
        named = [segment for segment in segments[3:] if not segment.startswith("OS-")]
        kind = re.sub("ies$", "y", named[0]).removesuffix("s") if named else ""
        body = {kind: {"name": "stolen"}, "tags": ["stolen"]}
        answer = world.ask(who, method, "/".join(filled).removeprefix(V3), body)
        if who == "member" and method == "GET" and rule in lists:
            # With a role on a domain, lists hold what is in it, and nothing else.
            assert answer.status_code == 200
            assert world.mine in answer.text
            assert not any(key in answer.text for key in (world.stranger, world.strangers, world.other, world.theirs))
            continue
        assert answer.status_code in (403, 404), (method, path, answer.text)
        assert "stolen" not in world.http.get(f"{V3}/users").text


def test_a_reader_of_a_domain_sees_its_things_only(world: World) -> None:
    for path, key in (("/users", "users"), ("/projects", "projects"), ("/groups", "groups"), ("/domains", "domains")):
        found = world.ask("reader", "GET", path).json()[key]
        assert found
        assert {entry["id"] if key == "domains" else entry["domain_id"] for entry in found} == {world.mine}
    assert world.ask("reader", "GET", f"/users/{world.users['member']}").status_code == 200
    assert world.ask("reader", "GET", f"/users/{world.stranger}").status_code == 403
    assert world.ask("reader", "GET", f"/projects/{world.other}").status_code == 403
    assert world.ask("reader", "GET", f"/domains/{world.theirs}").status_code == 403
    assert world.ask("reader", "GET", "/users/nope").status_code == 403
    assert world.ask("reader", "POST", "/users", {"user": {"name": "x", "domain_id": world.mine}}).status_code == 403
    found = world.ask("reader", "GET", "/role_assignments").json()["role_assignments"]
    scopes = {entry["scope"].get("domain", entry["scope"].get("project", {})).get("id") for entry in found}
    assert scopes == {world.mine, world.project}


def test_a_manager_runs_the_own_domain(world: World) -> None:
    made = world.ask("manager", "POST", "/users", {"user": {"name": "new", "domain_id": world.mine}})
    assert made.status_code == 201
    user = made.json()["user"]["id"]
    for body in ({"user": {"name": "new", "domain_id": world.theirs}}, {"user": {"name": "new"}}):
        assert world.ask("manager", "POST", "/users", body).status_code == 403
    project = world.ask("manager", "POST", "/projects", {"project": {"name": "new", "domain_id": world.mine}})
    place = f"/projects/{project.json()['project']['id']}/users"
    assert world.ask("manager", "PUT", f"{place}/{user}/roles/{world.roles['member']}").status_code == 204
    assert world.ask("manager", "PUT", f"{place}/{user}/roles/{world.roles['admin']}").status_code == 403
    assert world.ask("manager", "PUT", f"{place}/{world.stranger}/roles/{world.roles['member']}").status_code == 403
    stolen = f"/projects/{world.other}/users/{user}/roles/{world.roles['member']}"
    assert world.ask("manager", "PUT", stolen).status_code == 403
    assert world.ask("manager", "PATCH", f"/users/{world.stranger}", {"user": {"enabled": False}}).status_code == 403
    assert world.ask("manager", "PUT", f"/groups/{world.group}/users/{user}").status_code == 204
    assert world.ask("manager", "PUT", f"/groups/{world.strangers}/users/{user}").status_code == 403
    assert world.ask("manager", "DELETE", f"/users/{user}").status_code == 204
    assert world.ask("manager", "DELETE", f"/users/{world.stranger}").status_code == 403
    assert world.ask("manager", "POST", "/roles", {"role": {"name": "x"}}).status_code == 403
    assert world.ask("manager", "POST", "/domains", {"domain": {"name": "x"}}).status_code == 403


def test_system_readers_see_all_and_change_nothing(world: World, cloud: Running, http: httpx.Client) -> None:
    grant = f"{V3}/system/users/{world.users['reader']}/roles/{world.roles['reader']}"
    assert http.put(grant).status_code == 204
    world.tokens["system"] = world.login("reader", {"system": {"all": True}})
    for path in ("/users", "/projects", "/services", "/endpoints", "/role_assignments", f"/users/{world.stranger}"):
        assert world.ask("system", "GET", path).status_code == 200
    assert world.stranger in world.ask("system", "GET", "/users").text
    assert world.ask("system", "POST", "/users", {"user": {"name": "x"}}).status_code == 403
    assert http.get(f"{V3}/system/users/{world.users['reader']}/roles").json()["roles"][0]["name"] == "reader"
    assert http.delete(grant).status_code == 204
    assert world.ask("system", "GET", "/users").status_code == 401


@pytest.mark.parametrize("actor", ["user", "group"])
@pytest.mark.parametrize("kind", ["project", "domain"])
@pytest.mark.parametrize("inherited", [False, True])
def test_grants(world: World, http: httpx.Client, kind: str, actor: str, inherited: bool) -> None:
    target = world.make("project", name=uuid4().hex) if kind == "project" else world.make("domain", name=uuid4().hex)
    key = world.make(actor, name=uuid4().hex)
    role = world.make("role", name=uuid4().hex)
    before, after = (f"{V3}/OS-INHERIT", "/inherited_to_projects") if inherited else (V3, "")
    one = f"{before}/{kind}s/{target}/{actor}s/{key}/roles/{{}}{after}"
    assert http.get(one.format(role)).status_code == 404
    assert http.put(one.format(role)).status_code == http.put(one.format(role)).status_code == 204
    assert http.head(one.format(role)).status_code == 204
    text = f"role: {world.roles['member']}, user or group: {key}, project, domain, or system: {target}."
    gone = http.delete(one.format(world.roles["member"]))
    assert gone.json()["error"]["message"] == f"Could not find role assignment with {text}"
    assert http.put(one.format("nope")).json()["error"]["message"] == "Could not find role: nope."
    listed = http.get(f"{V3}/role_assignments?{actor}.id={key}").json()["role_assignments"]
    assert len(listed) == 1
    assert listed[0]["links"]["assignment"].endswith(one.format(role).removeprefix("/identity"))
    assert listed[0]["scope"].get("OS-INHERIT:inherited_to") == ("projects" if inherited else None)
    if not (inherited and kind == "project"):
        path = one.format("").replace("/roles/", "/roles")
        assert [r["id"] for r in http.get(path).json()["roles"]] == [role]
    assert http.delete(one.format(role)).status_code == 204
    assert http.delete(one.format(role)).status_code == 404


def test_roles_of_a_domain_stay_in_it(world: World, http: httpx.Client) -> None:
    role = world.make("role", name=uuid4().hex, domain_id=world.mine)
    user = world.users["member"]
    assert http.put(f"{V3}/projects/{world.project}/users/{user}/roles/{role}").status_code == 204
    answer = http.put(f"{V3}/projects/{world.other}/users/{user}/roles/{role}")
    assert answer.status_code == 403
    text = f"Project {world.other} must be in the same domain as the role {role} being assigned."
    assert answer.json()["error"]["message"] == text
    assert http.put(f"{V3}/system/users/{user}/roles/{role}").status_code == 400
    assert http.put(f"{V3}/roles/{world.roles['reader']}/implies/{role}").status_code == 403
    assert http.put(f"{V3}/roles/{role}/implies/{world.roles['admin']}").status_code == 403
    assert http.put(f"{V3}/roles/{role}/implies/{world.roles['manager']}").status_code == 201
    token = world.login("member", {"project": {"id": world.project}})
    seen = http.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": token}).json()["token"]
    assert [r["name"] for r in seen["roles"]] == ["manager", "member", "reader"]
    assert role in [r["id"] for r in http.get(f"{V3}/roles?domain_id={world.mine}").json()["roles"]]
    assert role not in http.get(f"{V3}/roles").text


def test_what_a_token_could_be_scoped_to(world: World, http: httpx.Client) -> None:
    user, top = world.users["reader"], world.make("project", name=uuid4().hex, domain_id=world.mine)
    child = world.make("project", name=uuid4().hex, domain_id=world.mine, parent_id=top)
    http.put(f"{V3}/OS-INHERIT/projects/{top}/users/{user}/roles/{world.roles['reader']}/inherited_to_projects")
    assert [p["id"] for p in world.ask("reader", "GET", "/auth/projects").json()["projects"]] == [child]
    assert [p["id"] for p in world.ask("reader", "GET", f"/users/{user}/projects").json()["projects"]] == [child]
    assert [d["id"] for d in world.ask("reader", "GET", "/auth/domains").json()["domains"]] == [world.mine]
    assert world.ask("reader", "GET", "/auth/system").json()["system"] == []
    answer = world.ask("reader", "GET", "/auth/catalog")
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        403, "You are not authorized to perform the requested action.",
    )  # fmt: skip


def test_filters_that_exclude_each_other(http: httpx.Client) -> None:
    for query, text in (
        ("scope.domain.id=a&scope.project.id=b", "Specify a domain or project, not both"),
        ("scope.domain.id=a&scope.system=all", "Specify system or domain, not both"),
        ("user.id=a&group.id=b", "Specify a user or group, not both"),
        ("effective&group.id=b", "Combining effective and group filter will always result in an empty list."),
        ("include_subtree", "scope.project.id must be specified if include_subtree is also specified"),
    ):
        answer = http.get(f"{V3}/role_assignments?{query}")
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, text)


def test_names_of_what_assignments_name(world: World, http: httpx.Client) -> None:
    query = f"scope.project.id={world.project}&user.id={world.users['member']}&include_names&effective"
    found = http.get(f"{V3}/role_assignments?{query}").json()["role_assignments"]
    entry = next(e for e in found if e["role"]["name"] == "reader" and "prior_role" in e["links"])
    domain = {"id": world.mine, "name": http.get(f"{V3}/domains/{world.mine}").json()["domain"]["name"]}
    assert entry["user"] == {"id": world.users["member"], "name": "member", "domain": domain}
    assert entry["scope"]["project"] == {"id": world.project, "name": "p", "domain": domain}
    assert entry["role"] == {"id": world.roles["reader"], "name": "reader"}
