"""Unified limits: defaults that are registered, numbers of projects and domains, and who sees which."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import openstack
import pytest

from tests.api.people import Person
from tests.support import Running

V3 = "/identity/v3"


@pytest.fixture
def service(http: httpx.Client) -> Iterator[str]:
    made = http.post(f"{V3}/services", json={"service": {"type": uuid4().hex, "name": "x"}}).json()["service"]["id"]
    yield made
    http.delete(f"{V3}/services/{made}")


def register(http: httpx.Client, service: str, name: str = "cores", **more: object) -> httpx.Response:
    entry = {"service_id": service, "resource_name": name, "default_limit": 5} | more
    return http.post(f"{V3}/registered_limits", json={"registered_limits": [entry]})


def limit(http: httpx.Client, service: str, name: str = "cores", **more: object) -> httpx.Response:
    entry = {"service_id": service, "resource_name": name, "resource_limit": 9} | more
    return http.post(f"{V3}/limits", json={"limits": [entry]})


def test_the_model_is_flat(victim: Person) -> None:
    assert victim.http.get(f"{V3}/limits/model").json()["model"]["name"] == "flat"


def test_a_default_and_its_exceptions(http: httpx.Client, service: str, victim: Person) -> None:
    answer = register(http, service)
    assert answer.status_code == 201
    registered = answer.json()["registered_limits"][0]
    own = f"{V3}/registered_limits/{registered['id']}"
    assert set(registered) == {
        "id",
        "service_id",
        "region_id",
        "resource_name",
        "default_limit",
        "description",
        "links",
    }
    assert set(answer.json()) == {"registered_limits"}
    assert http.patch(own, json={"registered_limit": {"default_limit": 6}}).json()["registered_limit"][
        "default_limit"
    ] == 6  # fmt: skip
    made = limit(http, service, project_id=victim.project_id).json()["limits"][0]
    assert (made["project_id"], made["domain_id"], made["resource_limit"]) == (victim.project_id, None, 9)
    # While an exception hangs on it, the default is fixed.
    for refused in (http.patch(own, json={"registered_limit": {"default_limit": 7}}), http.delete(own)):
        assert refused.status_code == 403
        assert "because there are project limits associated with it" in refused.text
    zero = http.patch(f"{V3}/limits/{made['id']}", json={"limit": {"resource_limit": 0}})
    assert zero.json()["limit"]["resource_limit"] == 0
    assert http.delete(f"{V3}/limits/{made['id']}").status_code == 204
    assert http.delete(own).status_code == 204
    assert http.get(own).json()["error"]["message"] == f"Could not find registered limit for {registered['id']}."


def test_what_cannot_be(http: httpx.Client, service: str, victim: Person) -> None:
    register(http, service)
    for status, answer in (
        (409, register(http, service)),
        (400, register(http, "f" * 32)),
        (400, register(http, service, "x", region_id="nowhere")),
        (400, register(http, service, "x", default_limit=-2)),
        (400, register(http, service, "x", default_limit="2")),
        (400, register(http, service, "x", colour="red")),
        (400, http.post(f"{V3}/registered_limits", json={"registered_limits": []})),
        (403, limit(http, service, "ram", project_id=victim.project_id)),
        (400, limit(http, service)),
        (400, limit(http, service, project_id=None)),
        (400, limit(http, service, project_id=victim.project_id, domain_id="default")),
        (400, limit(http, service, project_id="f" * 32)),
        (400, limit(http, service, domain_id=victim.project_id)),
    ):
        assert answer.status_code == status, answer.text


def test_several_are_made_together_or_none(http: httpx.Client, service: str) -> None:
    entries = [{"service_id": service, "resource_name": name, "default_limit": 1} for name in ("a", "b", "a")]
    assert http.post(f"{V3}/registered_limits", json={"registered_limits": entries}).status_code == 409
    query = f"{V3}/registered_limits?service_id={service}"
    assert http.get(query).json()["registered_limits"] == []
    assert http.post(f"{V3}/registered_limits", json={"registered_limits": entries[:2]}).status_code == 201
    assert len(http.get(query).json()["registered_limits"]) == 2
    assert len(http.get(query + "&resource_name=b").json()["registered_limits"]) == 1


def test_everybody_sees_defaults_and_own_limits(
    http: httpx.Client, service: str, victim: Person, stranger: Person, cloud: Running
) -> None:
    register(http, service)
    mine = limit(http, service, project_id=victim.project_id).json()["limits"][0]
    of_domain = limit(http, service, project_id="default").json()["limits"][0]
    assert (of_domain["project_id"], of_domain["domain_id"]) == (None, "default")

    def seen(who: httpx.Client) -> set[str]:
        return {entry["id"] for entry in who.get(f"{V3}/limits?service_id={service}").json()["limits"]}

    assert seen(http) == {mine["id"], of_domain["id"]}
    assert seen(victim.http) == {mine["id"]}
    assert seen(stranger.http) == set()
    assert victim.http.get(f"{V3}/limits/{mine['id']}").status_code == 200
    assert stranger.http.get(f"{V3}/limits/{mine['id']}").status_code == 403
    assert len(stranger.http.get(f"{V3}/registered_limits?service_id={service}").json()["registered_limits"]) == 1
    for answer in (limit(victim.http, service), victim.http.patch(f"{V3}/limits/{mine['id']}", json={"limit": {}})):
        assert answer.status_code == 403


def test_limits_end_with_what_they_are_about(http: httpx.Client, service: str) -> None:
    project = http.post(f"{V3}/projects", json={"project": {"name": uuid4().hex}}).json()["project"]["id"]
    register(http, service)
    made = limit(http, service, project_id=project).json()["limits"][0]["id"]
    assert http.delete(f"{V3}/projects/{project}").status_code == 204
    assert http.get(f"{V3}/limits/{made}").status_code == 404
    assert http.delete(f"{V3}/services/{service}").status_code == 204
    assert http.get(f"{V3}/registered_limits?service_id={service}").json()["registered_limits"] == []


def test_openstacksdk(admin: openstack.connection.Connection, service: str, victim: Person) -> None:
    registered = admin.identity.create_registered_limit(service_id=service, resource_name="sdk", default_limit=4)
    assert admin.identity.get_registered_limit(registered.id).default_limit == 4
    made = admin.identity.create_limit(
        service_id=service, resource_name="sdk", resource_limit=2, project_id=victim.project_id
    )
    assert [entry.id for entry in admin.identity.limits(project_id=victim.project_id)] == [made.id]
    admin.identity.delete_limit(made)
    admin.identity.delete_registered_limit(registered)
