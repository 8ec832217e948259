"""Trusts: what a trustee can do with one, what not, and everything that ends it."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import openstack
import pytest

from hagane.identity.trust import purge_trusts
from tests.support import Running

V3 = "/identity/v3"
TRUSTS = f"{V3}/OS-TRUST/trusts"
TOKENS = f"{V3}/auth/tokens"


class Scene:
    """A trustor, member of a project, and two users without any role."""

    def __init__(self, anyone: httpx.Client, http: httpx.Client) -> None:
        self.anyone, self.http = anyone, http
        name = uuid4().hex
        self.project = http.post(f"{V3}/projects", json={"project": {"name": name}}).json()["project"]["id"]
        self.trustor, self.trustee, self.third = (self._user(f"{name}-{n}") for n in range(3))
        self.roles = {role["name"]: role["id"] for role in http.get(f"{V3}/roles").json()["roles"]}
        self.grant = f"{V3}/projects/{self.project}/users/{self.trustor}/roles/{self.roles['member']}"
        http.put(self.grant)
        self.token = self.login(self.trustor, {"project": {"id": self.project}}).headers["x-subject-token"]

    def _user(self, name: str) -> str:
        user = {"user": {"name": name, "password": "pw"}}
        return str(self.http.post(f"{V3}/users", json=user).json()["user"]["id"])

    def login(self, user: str, scope: Any = "unscoped") -> httpx.Response:
        identity = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
        return self.anyone.post(TOKENS, json={"auth": {"identity": identity, "scope": scope}})

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> httpx.Response:
        return self.anyone.request(method, path, json=body, headers={"X-Auth-Token": token or self.token})

    def entrust(self, token: str = "", **more: Any) -> httpx.Response:
        trust = {"trustor_user_id": self.trustor, "trustee_user_id": self.trustee, "impersonation": True,
                 "project_id": self.project, "roles": [{"name": "member"}]}  # fmt: skip
        return self.ask("POST", TRUSTS, {"trust": trust | more}, token)

    def made(self, token: str = "", **more: Any) -> str:
        answer = self.entrust(token, **more)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["trust"]["id"])

    def use(self, trust: str, user: str = "") -> httpx.Response:
        return self.login(user or self.trustee, {"OS-TRUST:trust": {"id": trust}})

    def token_of(self, trust: str, user: str = "") -> str:
        answer = self.use(trust, user)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["x-subject-token"])

    def valid(self, token: str) -> bool:
        return self.http.get(TOKENS, headers={"X-Subject-Token": token}).status_code == 200


@pytest.fixture(scope="module")
def anyone(cloud: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.url) as client:
        yield client


@pytest.fixture
def scene(anyone: httpx.Client, http: httpx.Client) -> Scene:
    return Scene(anyone, http)


def test_a_trustee_acts_as_the_trustor(scene: Scene) -> None:
    made = scene.entrust().json()["trust"]
    assert set(made) == {"id", "trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at",
                         "remaining_uses", "deleted_at", "redelegated_trust_id", "redelegation_count", "roles",
                         "roles_links", "links"}  # fmt: skip
    answer = scene.use(made["id"])
    token, text = answer.json()["token"], answer.headers["x-subject-token"]
    assert token["user"]["id"] == scene.trustor
    assert token["project"]["id"] == scene.project
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert token["OS-TRUST:trust"] == {
        "id": made["id"], "impersonation": True,
        "trustor_user": {"id": scene.trustor}, "trustee_user": {"id": scene.trustee},
    }  # fmt: skip
    network = scene.ask("POST", "/network/v2.0/networks", {"network": {"name": "x"}}, text)
    assert network.json()["network"]["project_id"] == scene.project
    assert scene.http.get(TOKENS, headers={"X-Subject-Token": text}).json()["token"] == token


def test_without_impersonation_one_stays_oneself(scene: Scene) -> None:
    token = scene.use(scene.made(impersonation=False)).json()["token"]
    assert token["user"]["id"] == scene.trustee
    assert token["project"]["id"] == scene.project


def test_a_trust_is_for_its_two_users(scene: Scene) -> None:
    trust = scene.made()
    assert scene.use(trust, scene.third).status_code == 403
    assert scene.use("unknown").status_code == 401
    own = scene.login(scene.third).headers["x-subject-token"]
    for method in ("GET", "DELETE"):
        assert scene.ask(method, f"{TRUSTS}/{trust}", token=own).status_code == 403
    theirs = scene.login(scene.trustee).headers["x-subject-token"]
    assert scene.ask("GET", f"{TRUSTS}/{trust}", token=theirs).status_code == 200
    assert scene.ask("DELETE", f"{TRUSTS}/{trust}", token=theirs).status_code == 403
    mine = scene.ask("GET", f"{TRUSTS}?trustor_user_id={scene.trustor}").json()["trusts"]
    assert [entry["id"] for entry in mine] == [trust]
    assert "roles" not in mine[0]
    assert scene.ask("GET", TRUSTS).status_code == 403
    assert scene.ask("GET", f"{TRUSTS}?trustor_user_id={scene.trustor}", token=theirs).status_code == 403
    role = f"{TRUSTS}/{trust}/roles/{scene.roles['member']}"
    assert scene.ask("HEAD", role).status_code == scene.ask("GET", role).status_code == 200
    assert scene.ask("GET", f"{TRUSTS}/{trust}/roles/{scene.roles['admin']}").status_code == 404
    assert [r["name"] for r in scene.ask("GET", f"{TRUSTS}/{trust}/roles").json()["roles"]] == ["member"]


@pytest.mark.parametrize(("status", "more"), [
    (404, {"roles": [{"name": "admin"}]}), (404, {"roles": [{"name": "nothing"}]}), (403, {"roles": []}),
    (404, {"trustee_user_id": "nobody"}), (404, {"project_id": "nothing"}), (403, {"trustor_user_id": "other"}),
    (400, {"remaining_uses": 0}), (400, {"expires_at": "soon"}), (400, {"expires_at": "2001-01-01T00:00:00Z"}),
    (400, {"impersonation": None}), (400, {"allow_redelegation": True, "remaining_uses": 1}),
    (403, {"allow_redelegation": True, "redelegation_count": 4}),
])  # fmt: skip
def test_what_cannot_be(scene: Scene, status: int, more: dict[str, Any]) -> None:
    answer = scene.entrust(**more)
    assert answer.status_code == status, answer.text


def test_a_token_of_a_trust_gives_no_more_than_it_was_given(scene: Scene) -> None:
    token = scene.token_of(scene.made())
    user = f"{V3}/users/{scene.trustor}"
    credential = {"credential": {"type": "cert", "blob": "x", "user_id": scene.trustor}}
    for answer in (
        scene.anyone.post(TOKENS, json={"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}}),
        scene.ask("POST", f"{user}/application_credentials", {"application_credential": {"name": "x"}}, token),
        scene.ask("GET", f"{user}/application_credentials", token=token),
        scene.ask("GET", f"{user}/access_rules", token=token),
        scene.ask("POST", f"{V3}/credentials", credential, token),
        scene.ask("POST", f"{user}/credentials/OS-EC2", {"tenant_id": scene.project}, token),
        scene.entrust(token, trustee_user_id=scene.third),
    ):
        assert answer.status_code == 403, answer.text


def test_uses_are_counted(scene: Scene) -> None:
    trust = scene.made(remaining_uses=1)
    token = scene.token_of(trust)
    assert scene.valid(token)
    assert scene.use(trust).status_code == 401
    assert scene.ask("GET", f"{TRUSTS}/{trust}").status_code == 404
    assert scene.ask("DELETE", f"{TRUSTS}/{trust}").status_code == 204
    assert not scene.valid(token)


def test_a_token_does_not_outlive_its_trust(scene: Scene) -> None:
    assert scene.entrust(expires_at="2040-01-01T00:00:00Z").json()["trust"]["expires_at"] == (
        "2040-01-01T00:00:00.000000Z"
    )
    assert scene.entrust(expires_at="2040-01-01T00:00:00.000000Z").status_code == 409
    soon = scene.http.get(TOKENS, headers={"X-Subject-Token": scene.token}).json()["token"]["issued_at"]
    moment = soon[:11] + "23:59:59.999999Z"
    answer = scene.entrust(expires_at=moment)
    assert scene.use(answer.json()["trust"]["id"]).json()["token"]["expires_at"] <= moment


def _lose_role(scene: Scene, trust: str) -> None:
    scene.http.delete(scene.grant)


def _disable(scene: Scene, trust: str) -> None:
    scene.http.patch(f"{V3}/users/{scene.trustor}", json={"user": {"enabled": False}})


def _new_password(scene: Scene, trust: str) -> None:
    scene.http.patch(f"{V3}/users/{scene.trustor}", json={"user": {"password": "other"}})


def _end(scene: Scene, trust: str) -> None:
    assert scene.ask("DELETE", f"{TRUSTS}/{trust}").status_code == 204


def _trustor_gone(scene: Scene, trust: str) -> None:
    scene.http.delete(f"{V3}/users/{scene.trustor}")


def _project_gone(scene: Scene, trust: str) -> None:
    scene.http.delete(f"{V3}/projects/{scene.project}")


@pytest.mark.parametrize(("end", "again"), [
    (_lose_role, 403), (_disable, 403), (_new_password, 201), (_end, 401), (_trustor_gone, 401), (_project_gone, 401),
])  # fmt: skip
def test_what_ends_a_trust(scene: Scene, end: Callable[[Scene, str], None], again: int) -> None:
    trust = scene.made()
    token = scene.token_of(trust)
    assert scene.ask("GET", f"{V3}/users/{scene.trustor}", token=token).status_code == 200
    end(scene, trust)
    assert scene.ask("GET", f"{V3}/users/{scene.trustor}", token=token).status_code == 401
    assert not scene.valid(token)
    assert scene.use(trust).status_code == again


def test_a_trust_is_passed_on(scene: Scene) -> None:
    first = scene.made(allow_redelegation=True)
    token = scene.token_of(first)
    second = scene.entrust(token, trustee_user_id=scene.third, allow_redelegation=True).json()["trust"]
    assert (second["redelegated_trust_id"], second["redelegation_count"]) == (first, 2)
    assert scene.use(second["id"], scene.third).json()["token"]["user"]["id"] == scene.trustor
    for more in ({"roles": [{"name": "reader"}]}, {"allow_redelegation": True, "redelegation_count": 1},
                 {"remaining_uses": 1}):  # fmt: skip
        assert scene.entrust(token, trustee_user_id=scene.third, **more).status_code == 403
    passed_on = scene.token_of(second["id"], scene.third)
    scene.http.patch(f"{V3}/users/{scene.trustee}", json={"user": {"enabled": False}})
    assert not scene.valid(passed_on)
    scene.http.patch(f"{V3}/users/{scene.trustee}", json={"user": {"enabled": True}})
    assert scene.use(second["id"], scene.third).status_code == 201
    _end(scene, first)
    assert scene.use(second["id"], scene.third).status_code == 401
    assert scene.http.get(f"{TRUSTS}/{second['id']}").status_code == 404


def test_what_has_expired_is_forgotten(cloud: Running, scene: Scene) -> None:
    trust, lasting = scene.made(expires_at="2040-01-01T00:00:00Z"), scene.made()
    running = cloud.hagane.cloud
    for before, status in (("2039-12-31T00:00:00", 200), ("2040-01-02T00:00:00", 404)):
        cloud.run(lambda before=before: running.db.write(lambda tx: purge_trusts(tx, before)))
        assert scene.ask("GET", f"{TRUSTS}/{trust}").status_code == status
    assert scene.ask("GET", f"{TRUSTS}/{lasting}").status_code == 200


def test_openstacksdk(cloud: Running, scene: Scene, admin: openstack.connection.Connection) -> None:
    trust = scene.made()
    auth = {"user_id": scene.trustee, "password": "pw", "trust_id": trust}
    nothing = {"username": None, "user_domain_name": None, "project_name": None, "project_domain_name": None}
    with cloud.connect(**nothing, **auth) as connection:
        assert connection.current_user_id == scene.trustor
        assert connection.current_project_id == scene.project
        assert list(connection.network.networks()) is not None
    assert trust in [entry.id for entry in admin.identity.trusts()]
