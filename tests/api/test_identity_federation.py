"""Identity providers, their protocols and mappings, and service providers: shapes, refusals, what goes with what."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.people import Person

TOP = "/identity/v3/OS-FEDERATION"
RULES = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "name"}]}]


def put(http: httpx.Client, path: str, status: int = 201, **body: Any) -> dict[str, Any]:
    kind = next(iter(body))
    answer = http.put(f"{TOP}/{path}", json=body)
    assert answer.status_code == status, answer.text
    made: dict[str, Any] = answer.json()[kind] if status == 201 else answer.json()["error"]
    return made


def provider(http: httpx.Client, **attributes: Any) -> dict[str, Any]:
    return put(http, f"identity_providers/{uuid4().hex}", identity_provider=attributes)


def test_a_provider_gets_a_domain_of_its_own(http: httpx.Client) -> None:
    made = provider(http, remote_ids=["https://b", "https://a"], enabled=True, description="us")
    path = f"{TOP}/identity_providers/{made['id']}"
    assert http.get(f"/identity/v3/domains/{made['domain_id']}").status_code == 200
    assert made["links"] == {"self": made["links"]["self"], "protocols": made["links"]["self"] + "/protocols"}
    assert made["remote_ids"] == ["https://a", "https://b"]
    taken = put(http, f"identity_providers/{uuid4().hex}", 409, identity_provider={"remote_ids": ["https://a"]})
    assert taken["message"].endswith("Duplicate remote ID: https://a.")
    assert put(http, f"identity_providers/{made['id']}", 409, identity_provider={})["message"].endswith(
        f"Duplicate entry found with ID {made['id']}."
    )
    changed = http.patch(path, json={"identity_provider": {"remote_ids": ["https://c"], "enabled": False}})
    assert changed.json()["identity_provider"] == made | {"remote_ids": ["https://c"], "enabled": False}
    assert http.patch(path, json={"identity_provider": {"color": "red"}}).status_code == 400
    listed = http.get(f"{TOP}/identity_providers?id={made['id']}").json()["identity_providers"]
    assert [(entry["id"], entry["remote_ids"]) for entry in listed] == [(made["id"], ["https://c"])]


def test_protocols_go_with_their_provider_and_it_with_its_domain(http: httpx.Client) -> None:
    made = provider(http)
    at = f"identity_providers/{made['id']}/protocols/openid"
    assert put(http, at, 400, protocol={"mapping_id": "nope"})["message"] == "Invalid mapping id: nope"
    mapping = put(http, f"mappings/{uuid4().hex}", mapping={"rules": RULES})
    protocol = put(http, at, protocol={"mapping_id": mapping["id"], "remote_id_attribute": "iss"})
    assert (protocol["id"], protocol["mapping_id"]) == ("openid", mapping["id"])
    assert protocol["links"]["identity_provider"] == made["links"]["self"]
    assert http.get(f"{TOP}/identity_providers/{made['id']}/protocols").json()["protocols"] == [protocol]
    assert http.patch(f"{TOP}/{at}", json={"protocol": {"mapping_id": "nope"}}).status_code == 400
    gone = http.get(f"{TOP}/identity_providers/nope/protocols/openid").json()["error"]["message"]
    assert gone == "Could not find federated protocol openid for Identity Provider: nope."
    domain = f"/identity/v3/domains/{made['domain_id']}"
    http.patch(domain, json={"domain": {"enabled": False}}).raise_for_status()
    http.delete(domain).raise_for_status()
    assert http.get(f"{TOP}/{at}").status_code == http.get(f"{TOP}/identity_providers/{made['id']}").status_code == 404


BAD: list[Any] = [
    {}, {"rules": []}, {"rules": [{"local": []}]}, {"rules": [{"local": [], "remote": []}]},
    {"rules": [{"local": [{"users": {}}], "remote": [{"type": "x"}]}]},
    {"rules": [{"local": [{"group": {"name": "x"}}], "remote": [{"type": "x"}]}]},
    {"rules": [{"local": [], "remote": [{"type": "x", "whitelist": [], "blacklist": []}]}]},
    {"rules": [{"local": [{"projects_json": "{0}"}], "remote": [{"type": "x"}]}], "schema_version": "2.0"},
    {"rules": RULES, "schema_version": "4.0"},
]  # fmt: skip


@pytest.mark.parametrize("mapping", BAD)
def test_rules_that_say_nothing(http: httpx.Client, mapping: dict[str, Any]) -> None:
    assert http.put(f"{TOP}/mappings/bad", json={"mapping": mapping}).status_code == 400


def test_mappings_are_replaced_whole(http: httpx.Client) -> None:
    made = put(http, f"mappings/{uuid4().hex}", mapping={"rules": RULES, "schema_version": "2.0"})
    group = {"name": "x", "domain": {"name": "Default"}}
    rules = [{"local": [{"group": group}], "remote": [{"type": "x", "any_one_of": ["a"], "regex": True}]}]
    changed = http.patch(f"{TOP}/mappings/{made['id']}", json={"mapping": {"rules": rules}}).json()["mapping"]
    assert (changed["rules"], changed["schema_version"]) == (rules, "1.0")


def test_tokens_name_the_service_providers_that_are_enabled(http: httpx.Client) -> None:
    urls = {"auth_url": "https://there/auth", "sp_url": "https://there/sp"}
    made = put(http, f"service_providers/{uuid4().hex}", service_provider=urls)
    path = f"{TOP}/service_providers/{made['id']}"
    assert (made["enabled"], made["relay_state_prefix"]) == (False, "ss:mem:")
    subject = {"X-Subject-Token": http.headers["x-auth-token"]}

    def named() -> list[dict[str, str]]:
        token = http.get("/identity/v3/auth/tokens", headers=subject).json()["token"]
        return [entry for entry in token.get("service_providers", []) if entry["id"] == made["id"]]

    assert named() == []
    http.patch(path, json={"service_provider": {"enabled": True}}).raise_for_status()
    assert named() == [urls | {"id": made["id"]}]
    assert http.patch(path, json={"service_provider": {"sp_url": "there"}}).status_code == 400
    http.delete(path).raise_for_status()
    assert named() == []


def test_only_administrators_make_them(stranger: Person) -> None:
    for path in ("identity_providers/x", "mappings/x", "service_providers/x", "identity_providers/x/protocols/x"):
        assert stranger.http.get(f"{TOP}/{path}").status_code == 403
        assert stranger.http.delete(f"{TOP}/{path}").status_code == 403
