"""Tokens over HTTP: how they are got, what they say, and everything that ends them."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import openstack
import pytest

from hagane.identity import throttle
from tests.support import PASSWORD, Running

V3 = "/identity/v3"
AUTH = f"{V3}/auth/tokens"


@pytest.fixture(scope="module")
def anyone(cloud: Running) -> Iterator[httpx.Client]:
    """HTTP without a token."""
    with httpx.Client(base_url=cloud.url) as client:
        yield client


class Person:
    """A user of its own with the role member on a project of its own, and a token for it."""

    def __init__(self, http: httpx.Client, anyone: httpx.Client) -> None:
        self.http, self.anyone, self.name = http, anyone, f"p-{uuid4().hex[:8]}"
        self.project = self.make("project", name=self.name)
        self.user = self.make("user", name=self.name, password="first")
        self.role = http.get(f"{V3}/roles?name=member").json()["roles"][0]["id"]
        self.grant = f"{V3}/projects/{self.project}/users/{self.user}/roles/{self.role}"
        assert http.put(self.grant).status_code == 204
        self.token = self.login().headers["x-subject-token"]

    def make(self, kind: str, **attributes: Any) -> str:
        answer = self.http.post(f"{V3}/{kind}s", json={kind: attributes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()[kind]["id"])

    def login(self, password: str = "first", scope: Any = None, **more: Any) -> httpx.Response:
        user = {"id": self.user, "password": password}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
        scope = {"project": {"id": self.project}} if scope is None else scope
        return self.anyone.post(AUTH, json={"auth": auth | ({"scope": scope} if scope else {}) | more})

    def change(self, kind: str, key: str, **attributes: Any) -> None:
        answer = self.http.patch(f"{V3}/{kind}s/{key}", json={kind: attributes})
        assert answer.status_code == 200, answer.text

    def valid(self, token: str = "") -> bool:
        """Whether the token works, both for its bearer and for a service that asks."""
        token = token or self.token
        used = self.anyone.get(f"{V3}/users/{self.user}", headers={"X-Auth-Token": token}).status_code
        asked = self.http.get(AUTH, headers={"X-Subject-Token": token}).status_code
        assert (used, asked) in ((200, 200), (401, 404))
        return asked == 200


@pytest.fixture
def person(http: httpx.Client, anyone: httpx.Client) -> Person:
    return Person(http, anyone)


def test_post_and_get_say_the_same(person: Person) -> None:
    made = person.login()
    token = made.headers["x-subject-token"]
    seen = person.http.get(AUTH, headers={"X-Subject-Token": token})
    assert (made.status_code, seen.status_code) == (201, 200)
    assert seen.json() == made.json()
    assert seen.headers["x-subject-token"] == token
    body = made.json()["token"]
    assert set(body) == {"methods", "user", "audit_ids", "expires_at", "issued_at", "project", "is_domain", "roles",
                         "catalog"}  # fmt: skip
    assert body["methods"] == ["password"]
    assert body["expires_at"] > body["issued_at"]
    assert [role["name"] for role in body["roles"]] == ["member", "reader"]
    assert body["project"] == {
        "id": person.project,
        "name": person.name,
        "domain": {"id": "default", "name": "Default"},
    }
    head = person.http.head(AUTH, headers={"X-Subject-Token": token})
    assert (head.status_code, head.content) == (200, b"")


def test_the_catalog_names_every_api_and_can_be_left_out(person: Person) -> None:
    catalog = person.login().json()["token"]["catalog"]
    assert {"identity", "image", "compute", "placement", "network"} <= {entry["type"] for entry in catalog}
    endpoints = catalog[0]["endpoints"]
    assert {endpoint["interface"] for endpoint in endpoints} == {"public", "internal", "admin"}
    assert set(endpoints[0]) == {"id", "interface", "region", "region_id", "url"}
    seen = person.http.get(f"{AUTH}?nocatalog", headers={"X-Subject-Token": person.token})
    assert "catalog" not in seen.json()["token"]
    assert person.anyone.get(f"{V3}/auth/catalog", headers={"X-Auth-Token": person.token}).json()["catalog"] == catalog


def test_scopes(cloud: Running, http: httpx.Client, anyone: httpx.Client) -> None:
    def show(token: str) -> dict[str, Any]:
        body: dict[str, Any] = http.get(AUTH, headers={"X-Subject-Token": token}).json()["token"]
        return body

    assert show(cloud.token(system={"all": True}))["system"] == {"all": True}
    user = {"name": "admin", "domain": {"name": "Default"}, "password": PASSWORD}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    for scope in ({}, {"scope": "unscoped"}, {"scope": {"unscoped": {}}}):
        body = anyone.post(AUTH, json={"auth": auth | scope}).json()["token"]
        assert not {"project", "domain", "system", "roles", "catalog"} & set(body)
    domain = {"scope": {"domain": {"id": "default"}}}
    assert anyone.post(AUTH, json={"auth": auth | domain}).status_code == 401
    admin = http.get(f"{V3}/users?name=admin").json()["users"][0]["id"]
    role = http.get(f"{V3}/roles?name=reader").json()["roles"][0]["id"]
    grant = f"{V3}/domains/default/users/{admin}/roles/{role}"
    assert http.put(grant).status_code == 204
    body = anyone.post(AUTH, json={"auth": auth | domain}).json()["token"]
    assert body["domain"] == {"id": "default", "name": "Default"}
    assert [role["name"] for role in body["roles"]] == ["reader"]
    assert http.delete(grant).status_code == 204


def test_the_default_project_is_the_scope_if_it_is_open(person: Person) -> None:
    person.change("user", person.user, default_project_id=person.project)
    assert person.login(scope=False).json()["token"]["project"]["id"] == person.project
    assert "project" not in person.login(scope="unscoped").json()["token"]
    person.http.delete(person.grant)
    assert "project" not in person.login(scope=False).json()["token"]


def test_a_token_of_a_token_keeps_its_end_and_its_chain(person: Person) -> None:
    first = person.login(scope="unscoped")
    time.sleep(0.01)
    auth = {"identity": {"methods": ["token"], "token": {"id": first.headers["x-subject-token"]}},
            "scope": {"project": {"id": person.project}}}  # fmt: skip
    second = person.anyone.post(AUTH, json={"auth": auth})
    assert second.status_code == 201
    old, new = first.json()["token"], second.json()["token"]
    assert new["expires_at"] == old["expires_at"]
    assert new["audit_ids"][1] == old["audit_ids"][0]
    assert sorted(new["methods"]) == ["password", "token"]
    # Revoking the first one ends what came of it.
    headers = {"X-Subject-Token": first.headers["x-subject-token"]}
    assert person.http.delete(AUTH, headers=headers).status_code == 204
    assert not person.valid(second.headers["x-subject-token"])
    assert person.valid()


def test_a_revoked_token_is_gone_and_others_live(person: Person) -> None:
    other = person.login().headers["x-subject-token"]
    own = {"X-Auth-Token": person.token, "X-Subject-Token": person.token}
    assert person.anyone.delete(AUTH, headers=own).status_code == 204
    assert not person.valid()
    assert person.valid(other)
    assert person.http.head(AUTH, headers={"X-Subject-Token": person.token}).status_code == 404
    assert person.http.delete(AUTH, headers={"X-Subject-Token": person.token}).status_code == 404


def test_a_changed_password_ends_all_tokens(person: Person) -> None:
    path = f"{V3}/users/{person.user}/password"
    wrong = {"user": {"original_password": "nope", "password": "second"}}
    assert person.anyone.post(path, json=wrong).status_code == 401
    assert person.valid()
    right = {"user": {"original_password": "first", "password": "second"}}
    assert person.anyone.post(path, json=right).status_code == 204
    assert not person.valid()
    assert person.login("first").status_code == 401
    token = person.login("second").headers["x-subject-token"]
    assert person.valid(token)
    person.change("user", person.user, password="third")
    assert not person.valid(token)
    assert person.login("third").status_code == 201


def test_a_disabled_user_is_out_and_stays_out_with_old_tokens(person: Person) -> None:
    person.change("user", person.user, enabled=False)
    assert not person.valid()
    assert person.login().status_code == 401
    person.change("user", person.user, enabled=True)
    assert not person.valid()
    assert person.login().status_code == 201


def test_a_disabled_project_ends_its_tokens(person: Person) -> None:
    unscoped = person.login(scope="unscoped").headers["x-subject-token"]
    person.change("project", person.project, enabled=False)
    assert not person.valid()
    assert person.valid(unscoped)
    assert person.login().status_code == 401


def test_a_disabled_domain_ends_the_tokens_of_its_users(http: httpx.Client, anyone: httpx.Client) -> None:
    person = Person(http, anyone)
    domain = person.make("domain", name=f"d-{uuid4().hex[:8]}")
    user = person.make("user", name="u", password="pw", domain_id=domain)
    person.http.put(f"{V3}/projects/{person.project}/users/{user}/roles/{person.role}")
    person.user = user
    token = person.login("pw").headers["x-subject-token"]
    assert person.valid(token)
    person.change("domain", domain, enabled=False)
    assert http.get(AUTH, headers={"X-Subject-Token": token}).status_code == 404
    assert http.delete(f"{V3}/domains/{domain}").status_code == 204
    assert http.get(f"{V3}/users/{user}").status_code == 404


@pytest.mark.parametrize("kind", ["user", "project"])
def test_a_deleted_user_or_project_ends_tokens(person: Person, kind: str) -> None:
    key = person.user if kind == "user" else person.project
    assert person.http.delete(f"{V3}/{kind}s/{key}").status_code == 204
    assert person.http.get(AUTH, headers={"X-Subject-Token": person.token}).status_code == 404


def test_roles_that_come_and_go_show_in_tokens_at_once(person: Person) -> None:
    def roles() -> list[str]:
        body = person.http.get(AUTH, headers={"X-Subject-Token": person.token}).json()
        return [role["name"] for role in body["token"]["roles"]]

    group = person.make("group", name=person.name)
    role = person.make("role", name=f"extra-{person.name}")
    person.http.put(f"{V3}/groups/{group}/users/{person.user}")
    person.http.put(f"{V3}/projects/{person.project}/groups/{group}/roles/{role}")
    assert roles() == [f"extra-{person.name}", "member", "reader"]
    manager = person.http.get(f"{V3}/roles?name=manager").json()["roles"][0]["id"]
    person.http.put(f"{V3}/roles/{role}/implies/{manager}")
    assert roles() == [f"extra-{person.name}", "manager", "member", "reader"]
    person.http.delete(f"{V3}/groups/{group}/users/{person.user}")
    assert roles() == ["member", "reader"]
    person.http.delete(person.grant)
    assert not person.valid()
    person.http.put(f"{V3}/OS-INHERIT/domains/default/users/{person.user}/roles/{person.role}/inherited_to_projects")
    assert roles() == ["member", "reader"]
    assert person.http.delete(f"{V3}/roles/{role}").status_code == 204


def test_names_in_tokens_follow_renames(person: Person) -> None:
    person.change("user", person.user, name=f"{person.name}-renamed")
    person.change("project", person.project, name=f"{person.name}-renamed")
    body = person.http.get(AUTH, headers={"X-Subject-Token": person.token}).json()["token"]
    assert body["user"]["name"] == body["project"]["name"] == f"{person.name}-renamed"


def test_all_tokens_of_a_user_can_be_ended(person: Person) -> None:
    assert person.anyone.delete(f"{V3}/users/{person.user}/tokens",
                                headers={"X-Auth-Token": person.token}).status_code == 204  # fmt: skip
    assert not person.valid()
    assert person.login().status_code == 201


def test_every_refusal_of_a_login_reads_the_same(person: Person) -> None:
    texts = set()
    for user, scope in (
        ({"id": person.user, "password": "wrong"}, None),
        ({"id": "nobody", "password": "first"}, None),
        ({"name": "nobody", "domain": {"id": "default"}, "password": "first"}, None),
        ({"name": person.name, "domain": {"name": "nowhere"}, "password": "first"}, None),
        ({"id": person.user}, None),
        ({"id": person.user, "password": "first"}, {"project": {"id": "nope"}}),
        ({"id": person.user, "password": "first"}, {"domain": {"id": "default"}}),
        ({"id": person.user, "password": "first"}, {"system": {"all": True}}),
        ({"id": person.user, "password": "first"}, {"OS-TRUST:trust": {"id": "x"}}),
    ):
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        answer = person.anyone.post(AUTH, json={"auth": auth | ({"scope": scope} if scope else {})})
        assert answer.status_code == 401, (user, scope)
        texts.add(answer.text)
    assert texts == {
        '{"error":{"code":401,"title":"Unauthorized","message":"The request you have made requires authentication."}}'
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "Expecting to find valid JSON in request body."),
        (b"[]", "Expecting to find valid JSON in request body."),
        (b"", "Expecting to find auth in request body."),
        (b"{}", "Expecting to find auth in request body."),
        (b'{"auth": {}}', "'identity' is a required property"),
        (b'{"auth": {"identity": {}}}', "'methods' is a required property"),
        (b'{"auth": {"identity": {"methods": "password"}}}', "'password' is not of type 'array'"),
        (b'{"auth": {"identity": {"methods": ["password"]}}}', "Expecting to find password in identity."),
        (b'{"auth": {"identity": {"methods": ["password"], "password": {"user": {}}}}}', "id or name must be present"),
        (b'{"auth": {"identity": {"methods": ["password"], "password": {"user": 5}}}}', "5 is not of type 'object'"),
        (b'{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin"}}}}}',
         "Expecting to find domain in user."),
        (b'{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {}}}', ""),
    ],
)  # fmt: skip
def test_malformed_logins_are_told_what_is_wrong(anyone: httpx.Client, body: bytes, text: str) -> None:
    answer = anyone.post(AUTH, content=body)
    assert answer.status_code in (400, 404)
    assert text in answer.json()["error"]["message"]


def test_a_password_of_the_wrong_kind_is_not_repeated(anyone: httpx.Client) -> None:
    user = {"name": "admin", "domain": {"id": "default"}, "password": {"my": "secret"}}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    answer = anyone.post(AUTH, json={"auth": auth})
    assert answer.status_code == 400
    assert "secret" not in answer.text


@pytest.mark.parametrize("token", ["", "rubbish", "gAAAA" + "x" * 180, "\u00e9", "x" * 10_000])
def test_no_token_is_401_everywhere(anyone: httpx.Client, token: str) -> None:
    headers = {"X-Auth-Token": token.encode()} if token else {}
    answer = anyone.get(f"{V3}/users", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "The request you have made requires authentication."
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")


def test_a_token_that_is_gone_is_gone_for_everybody(person: Person) -> None:
    """Clients without rights expect 404 here, not 403: existence comes before the policy."""
    other = {"X-Subject-Token": person.login().headers["x-subject-token"], "X-Auth-Token": person.token}
    assert person.anyone.delete(AUTH, headers=other).status_code == 204
    for method in ("GET", "HEAD", "DELETE"):
        assert person.anyone.request(method, AUTH, headers=other).status_code == 404
    assert person.http.head(AUTH, headers={"X-Subject-Token": "rubbish"}).status_code == 404


def test_who_may_look_at_a_token(person: Person) -> None:
    own = {"X-Auth-Token": person.token, "X-Subject-Token": person.token}
    assert person.anyone.get(AUTH, headers=own).status_code == 200
    other = person.http.headers["X-Auth-Token"]
    assert person.anyone.get(AUTH, headers=own | {"X-Subject-Token": other}).status_code == 403
    assert person.anyone.delete(AUTH, headers=own | {"X-Subject-Token": other}).status_code == 403


def test_system_tokens_cannot_become_others(cloud: Running, anyone: httpx.Client) -> None:
    auth = {"identity": {"methods": ["token"], "token": {"id": cloud.token(system={"all": True})}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}  # fmt: skip
    answer = anyone.post(AUTH, json={"auth": auth})
    assert answer.status_code == 403
    assert "system-scoped token" in answer.json()["error"]["message"]


def test_a_user_may_demand_two_methods(person: Person) -> None:
    person.change("user", person.user, options={"multi_factor_auth_rules": [["password", "token"]]})
    assert person.login().status_code == 401
    person.change("user", person.user, options={"multi_factor_auth_enabled": False})
    assert person.login().status_code == 201


def test_versions_are_found_as_clients_look_for_them(cloud: Running, anyone: httpx.Client) -> None:
    many = anyone.get("/identity")
    assert (many.status_code, many.headers["location"]) == (300, f"{cloud.url}{V3}/")
    one = anyone.get(V3).json()["version"]
    assert set(one) == {"id", "status", "updated", "links", "media-types"}
    assert many.json() == {"versions": {"values": [one]}}
    for url in (cloud.url + "/identity", cloud.url + V3):
        auth = {"auth_url": url, "username": "admin", "password": PASSWORD, "project_name": "admin",
                "user_domain_name": "Default", "project_domain_name": "Default"}  # fmt: skip
        connection = openstack.connect(load_yaml_config=False, load_envvars=False, auth=auth, app_name="hagane-tests")
        assert connection.identity.get_endpoint_data().api_version == (3, 14)
        connection.close()


def test_guessing_gets_slow_for_the_guesser_only(
    person: Person, http: httpx.Client, anyone: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "FIRST", 0.2)
    other = Person(http, anyone)

    def timed(who: Person, password: str, code: int) -> float:
        started = time.monotonic()
        assert who.login(password).status_code == code
        return time.monotonic() - started

    assert max(timed(person, f"guess {n}", 401) for n in range(4)) < 0.15
    assert timed(person, "guess", 401) >= 0.2
    assert timed(other, "first", 201) < 0.15
    assert 0.4 <= timed(person, "first", 201) < 0.7  # the right password waits too, and then all is forgotten
    assert timed(person, "guess", 401) < 0.15


def test_what_ended_is_listed_for_services(person: Person) -> None:
    http, path = person.http, f"{V3}/OS-REVOKE/events"
    headers = {"X-Auth-Token": person.token}
    assert person.anyone.get(path, headers=headers).status_code == 403
    user, project = person.make("user", name=uuid4().hex), person.make("project", name=uuid4().hex)
    http.delete(f"{V3}/users/{user}")
    http.delete(f"{V3}/projects/{project}")
    events = http.get(path).json()["events"]
    assert [event["issued_before"] for event in events if event.get("user_id") == user]
    last = next(event for event in events if event.get("project_id") == project)
    assert set(last) == {"project_id", "issued_before", "revoked_at"}
    assert http.get(path, params={"since": "2999-01-01T00:00:00Z"}).json()["events"] == []
    assert http.get(path, params={"since": "yesterday"}).status_code == 400
