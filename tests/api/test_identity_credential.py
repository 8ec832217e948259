"""Application credentials: a part of one's roles, a secret shown once, access rules that hold everywhere."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support import Running

V3 = "/identity/v3"
AUTH = f"{V3}/auth/tokens"


class Owner:
    """A user with the roles member and manager on a project of its own."""

    def __init__(self, client: httpx.Client, http: httpx.Client) -> None:
        self.client, self.http = client, http
        name = uuid4().hex
        self.project = http.post(f"{V3}/projects", json={"project": {"name": name}}).json()["project"]["id"]
        user = {"name": name, "password": "pw"}
        self.user = http.post(f"{V3}/users", json={"user": user}).json()["user"]["id"]
        self.roles = {role["name"]: role["id"] for role in http.get(f"{V3}/roles").json()["roles"]}
        http.put(self.grant("manager"))
        self.path = f"{V3}/users/{self.user}/application_credentials"
        auth = {"methods": ["password"], "password": {"user": {"id": self.user, "password": "pw"}}}
        self.token = self.login(auth, {"scope": {"project": {"id": self.project}}}).headers["x-subject-token"]

    def grant(self, role: str) -> str:
        return f"{V3}/projects/{self.project}/users/{self.user}/roles/{self.roles[role]}"

    def login(self, identity: dict[str, Any], more: Any = None) -> httpx.Response:
        return self.client.post(AUTH, json={"auth": {"identity": identity} | (more or {})})

    def use(self, **credential: Any) -> httpx.Response:
        return self.login({"methods": ["application_credential"], "application_credential": credential})

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> httpx.Response:
        headers["X-Auth-Token"] = token or self.token
        return self.client.request(method, path, json=body, headers=headers)

    def make(self, **attributes: Any) -> dict[str, Any]:
        attributes.setdefault("name", uuid4().hex)
        answer = self.ask("POST", self.path, {"application_credential": attributes})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()["application_credential"]
        return made

    def token_of(self, made: dict[str, Any]) -> str:
        return self.use(id=made["id"], secret=made["secret"]).headers["x-subject-token"]

    def roles_in(self, token: str) -> list[str]:
        body = self.http.get(AUTH, headers={"X-Subject-Token": token}).json()
        return [role["name"] for role in body["token"]["roles"]]


@pytest.fixture(scope="module")
def anyone(cloud: Running) -> Iterator[httpx.Client]:
    """HTTP without a token."""
    with httpx.Client(base_url=cloud.url) as client:
        yield client


@pytest.fixture
def owner(anyone: httpx.Client, http: httpx.Client) -> Owner:
    return Owner(anyone, http)


def test_a_credential_is_made_used_and_ended(owner: Owner) -> None:
    made = owner.make(description="d")
    assert set(made) == {"id", "name", "description", "project_id", "user_id", "system", "expires_at", "unrestricted",
                         "roles", "links", "secret"}  # fmt: skip
    assert {role["name"] for role in made["roles"]} == {"manager", "member", "reader"}
    assert len(made["secret"]) == 86
    answer = owner.use(id=made["id"], secret=made["secret"])
    body = answer.json()["token"]
    assert body["methods"] == ["application_credential"]
    assert body["project"]["id"] == owner.project
    assert body["application_credential"] == {"id": made["id"], "name": made["name"], "restricted": True}
    token = answer.headers["x-subject-token"]
    assert owner.http.get(AUTH, headers={"X-Subject-Token": token}).json() == answer.json()
    shown = owner.ask("GET", f"{owner.path}/{made['id']}")
    assert "secret" not in shown.json()["application_credential"]
    assert made["secret"] not in shown.text + owner.ask("GET", owner.path).text
    assert owner.ask("DELETE", f"{owner.path}/{made['id']}").status_code == 204
    assert owner.http.get(AUTH, headers={"X-Subject-Token": token}).status_code == 404
    assert owner.ask("GET", f"{V3}/users/{owner.user}", token=token).status_code == 401
    assert owner.use(id=made["id"], secret=made["secret"]).status_code == 404


def test_ways_to_name_a_credential(owner: Owner) -> None:
    made = owner.make(name="named", secret="of my choice")
    assert made["secret"] == "of my choice"
    name = owner.http.get(f"{V3}/users/{owner.user}").json()["user"]["name"]
    for user in ({"id": owner.user}, {"name": name, "domain": {"id": "default"}}):
        assert owner.use(name="named", user=user, secret="of my choice").status_code == 201
        assert owner.use(name="named", user=user, secret="guess").status_code == 401
    assert owner.use(name="named", user={"id": "nobody"}, secret="of my choice").status_code == 401
    assert owner.use(name="named", secret="of my choice").status_code == 400
    assert owner.use(id=made["id"]).status_code == 401


def test_roles_are_a_part_of_the_users(owner: Owner) -> None:
    reader = owner.token_of(owner.make(roles=[{"name": "reader"}]))
    assert owner.roles_in(reader) == ["reader"]
    member = owner.make(roles=[{"id": owner.roles["member"]}])
    assert owner.roles_in(owner.token_of(member)) == ["member", "reader"]
    for role in ({"id": owner.roles["admin"]}, {"name": "admin"}, {"id": "nope"}):
        answer = owner.ask("POST", owner.path, {"application_credential": {"name": "x", "roles": [role]}})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].endswith("with unassigned role")
    # A role that the user loses is lost to the credential, and with the last one the credential is of no use.
    owner.http.put(owner.grant("reader"))
    owner.http.delete(owner.grant("manager"))
    assert owner.roles_in(owner.token_of(member)) == ["reader"]
    owner.http.delete(owner.grant("reader"))
    assert owner.use(id=member["id"], secret=member["secret"]).status_code == 401
    assert owner.http.get(AUTH, headers={"X-Subject-Token": reader}).status_code == 404


def test_a_restricted_credential_manages_none(owner: Owner) -> None:
    restricted, free = owner.make(), owner.make(unrestricted=True)
    token = owner.token_of(restricted)
    body = {"application_credential": {"name": "child"}}
    for answer in (
        owner.ask("POST", owner.path, body, token),
        owner.ask("DELETE", f"{owner.path}/{free['id']}", None, token),
    ):
        assert answer.status_code == 403
        assert "is not allowed for managing additional application credentials" in answer.text
    assert owner.ask("GET", owner.path, None, token).status_code == 200
    assert owner.ask("POST", owner.path, body, owner.token_of(free)).status_code == 201
    identity = {"methods": ["token"], "token": {"id": token}}
    assert owner.login(identity, {"scope": {"project": {"id": owner.project}}}).status_code == 403


def test_nobody_else_gets_at_it(owner: Owner, anyone: httpx.Client, http: httpx.Client) -> None:
    other, made = Owner(anyone, http), owner.make()
    assert other.ask("POST", owner.path, {"application_credential": {"name": "x"}}).status_code == 403
    assert http.post(owner.path, json={"application_credential": {"name": "x"}}).status_code == 403
    for path in (owner.path, other.path):  # a path that names the asker helps nothing
        assert other.ask("GET", f"{path}/{made['id']}").status_code == 403
        assert other.ask("DELETE", f"{path}/{made['id']}").status_code == 403
    assert other.ask("GET", owner.path).status_code == 403
    assert http.get(f"{owner.path}/{made['id']}").status_code == 200


def test_a_credential_ends_when_it_is_said_to(owner: Owner) -> None:
    made = owner.make(expires_at="2099-01-01T00:00:00Z")
    assert made["expires_at"] == "2099-01-01T00:00:00.000000"
    body = owner.use(id=made["id"], secret=made["secret"]).json()["token"]
    assert body["expires_at"] < made["expires_at"]
    for moment, text in (("2001-01-01T00:00:00Z", "must not be before now"), ("soon", "not in expected format")):
        answer = owner.ask("POST", owner.path, {"application_credential": {"name": "x", "expires_at": moment}})
        assert answer.status_code == 400
        assert text in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"name": ""}, {"name": "x", "foo": 1}, {"name": "x", "roles": "member"}, {"name": "x", "roles": [5]},
     {"name": "x", "unrestricted": "very"}, {"name": "x", "access_rules": [{"path": "/x"}]},
     {"name": "x", "access_rules": [{"path": "x", "method": "GET", "service": "compute"}]},
     {"name": "x", "access_rules": [{"path": "/x", "method": "GOT", "service": "compute"}]}],
)  # fmt: skip
def test_bad_credentials(owner: Owner, wrong: dict[str, Any]) -> None:
    assert owner.ask("POST", owner.path, {"application_credential": wrong}).status_code == 400
    assert owner.ask("GET", owner.path).json()["application_credentials"] == []


def test_a_name_is_taken_once_per_user(owner: Owner, anyone: httpx.Client, http: httpx.Client) -> None:
    owner.make(name="same")
    answer = owner.ask("POST", owner.path, {"application_credential": {"name": "same"}})
    assert answer.status_code == 409
    Owner(anyone, http).make(name="same")


def test_access_rules_hold(owner: Owner) -> None:
    rules = [{"service": "identity", "method": "GET", "path": "/v3/users/{user_id}"},
             {"service": "identity", "method": "GET", "path": "/identity/v3/projects/**"},
             {"service": "compute", "method": "GET", "path": "/v3/auth/projects"}]  # fmt: skip
    made = owner.make(access_rules=rules)
    assert [{key: rule[key] for key in ("service", "method", "path")} for rule in made["access_rules"]] == rules
    token = owner.token_of(made)
    assert owner.ask("GET", f"{V3}/users/{owner.user}", token=token).status_code == 200
    assert owner.ask("GET", f"{V3}/projects/{owner.project}/tags", token=token).status_code == 200
    for method, path in (("GET", f"{V3}/users/{owner.user}/projects"), ("PATCH", f"{V3}/users/{owner.user}"),
                         ("GET", f"{V3}/auth/projects"), ("GET", owner.path), ("GET", f"{V3}/users")):  # fmt: skip
        assert owner.ask(method, path, {}, token).status_code == 401
    # A service that does not know of access rules is told that there is no such token.
    asked = {"X-Subject-Token": token}
    assert owner.http.get(AUTH, headers=asked).status_code == 404
    seen = owner.http.get(AUTH, headers=asked | {"OpenStack-Identity-Access-Rules": "1.0"}).json()["token"]
    assert seen["application_credential"]["access_rules"] == made["access_rules"]


def test_access_rules_are_the_users_and_shared(owner: Owner, anyone: httpx.Client, http: httpx.Client) -> None:
    rule = {"service": "compute", "method": "GET", "path": "/v2.1/servers"}
    first = owner.make(access_rules=[rule])["access_rules"][0]
    second = owner.make(access_rules=[{"id": first["id"]}])["access_rules"][0]
    assert owner.make(access_rules=[rule])["access_rules"] == [first] == [second]
    path = f"{V3}/users/{owner.user}/access_rules"
    assert [entry["id"] for entry in owner.ask("GET", path).json()["access_rules"]] == [first["id"]]
    assert owner.ask("GET", f"{path}/{first['id']}").json()["access_rule"]["path"] == "/v2.1/servers"
    in_use = owner.ask("DELETE", f"{path}/{first['id']}")
    assert (in_use.status_code, in_use.json()["error"]["message"]) == (403, "May not delete access rule in use")
    other = Owner(anyone, http)
    body = {"application_credential": {"name": "x", "access_rules": [{"id": first["id"]}]}}
    assert other.ask("POST", other.path, body).status_code == 404
    assert other.ask("GET", f"{path}/{first['id']}").status_code == 403
    for made in owner.ask("GET", owner.path).json()["application_credentials"]:
        owner.ask("DELETE", f"{owner.path}/{made['id']}")
    assert owner.ask("DELETE", f"{path}/{first['id']}").status_code == 204


def test_credentials_go_with_user_project_and_role(owner: Owner, anyone: httpx.Client, http: httpx.Client) -> None:
    for path in (f"{V3}/users/{owner.user}", f"{V3}/projects/{Owner(anyone, http).project}"):
        assert http.delete(path).status_code == 204
    victim = Owner(anyone, http)
    role = http.post(f"{V3}/roles", json={"role": {"name": uuid4().hex}}).json()["role"]["id"]
    http.put(f"{V3}/projects/{victim.project}/users/{victim.user}/roles/{role}")
    made = victim.make()
    token = victim.token_of(made)
    assert http.delete(f"{V3}/roles/{role}").status_code == 204
    assert victim.ask("GET", victim.path).json()["application_credentials"] == []
    assert http.get(AUTH, headers={"X-Subject-Token": token}).status_code == 404
