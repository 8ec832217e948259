"""Several methods for one login: one-time passwords, and receipts for what has been proved so far."""

import base64
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hagane.identity import receipt
from hagane.identity.one_time import codes
from tests.api.people import PASSWORD, Person, person
from tests.support import Running

V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"
RULES = [["password", "totp"], ["password", "token"]]


@pytest.fixture
def seed(owner: Person, http: httpx.Client) -> str:
    """The owner's seed; the owner needs it from now on."""
    made = base64.b32encode(os.urandom(20)).decode()
    body = {"type": "totp", "blob": made, "user_id": owner.user_id}
    assert owner.http.post(f"{V3}/credentials", json={"credential": body}).status_code == 201
    options = {"multi_factor_auth_enabled": True, "multi_factor_auth_rules": RULES}
    assert http.patch(f"{V3}/users/{owner.user_id}", json={"user": {"options": options}}).status_code == 200
    return made


@pytest.fixture
def owner(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


def login(who: Person, text: str = "", code: str = "", password: str = "") -> httpx.Response:
    identity: dict[str, Any] = {"methods": []}
    for method, name, value in (("password", "password", password), ("totp", "passcode", code)):
        if value:
            identity["methods"].append(method)
            identity[method] = {"user": {"id": who.user_id, name: value}}
    headers = {"Openstack-Auth-Receipt": text, "X-Auth-Token": ""} if text else {"X-Auth-Token": ""}
    auth = {"identity": identity, "scope": {"project": {"id": who.project_id}}}
    return who.http.post(TOKENS, json={"auth": auth}, headers=headers)


def test_the_codes_of_the_standard() -> None:
    seed = base64.b32encode(b"12345678901234567890").decode()
    for moment, code in ((59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (2000000000, "279037")):
        assert codes(seed, moment)[0] == code
        assert codes(seed, moment + 30)[1] == code
    for wrong in ("", "a", "MFRGG", "not base 32", "é"):
        assert codes(wrong) == []


def test_both_at_once(owner: Person, seed: str) -> None:
    answer = login(owner, code=codes(seed)[0], password=PASSWORD)
    assert answer.status_code == 201
    assert set(answer.json()["token"]["methods"]) == {"password", "totp"}
    assert login(owner, code=codes(seed)[0], password="wrong").status_code == 401
    assert login(owner, code="000000x", password=PASSWORD).status_code == 401


def test_one_after_the_other(owner: Person, seed: str) -> None:
    first = login(owner, password=PASSWORD)
    assert first.status_code == 401
    text, body = first.headers["openstack-auth-receipt"], first.json()
    assert body["receipt"]["methods"] == ["password"]
    assert body["receipt"]["user"]["id"] == owner.user_id
    assert set(body["receipt"]) == {"methods", "user", "expires_at", "issued_at"}
    assert body["required_auth_methods"] == [["password", "totp"], ["password", "token"]]
    second = login(owner, text, code=codes(seed)[0])
    assert second.status_code == 201
    assert set(second.json()["token"]["methods"]) == {"password", "totp"}
    # A receipt is no token, and nothing without what is missing.
    assert owner.http.get(TOKENS, headers={"X-Auth-Token": text}).status_code == 401
    assert login(owner, text, password=PASSWORD).status_code == 401
    assert login(owner, text[:-4] + "xxxx", code=codes(seed)[0]).status_code == 401


def test_a_code_alone_is_nothing(owner: Person, seed: str) -> None:
    answer = login(owner, code=codes(seed)[0])
    assert (answer.status_code, "openstack-auth-receipt" in answer.headers) == (401, False)


def test_a_receipt_is_its_users_and_ends(
    owner: Person, seed: str, victim: Person, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = login(owner, password=PASSWORD).headers["openstack-auth-receipt"]
    assert login(victim, text, password=PASSWORD).status_code == 401
    monkeypatch.setattr(receipt, "LIFE", -1)
    late = login(owner, password=PASSWORD).headers["openstack-auth-receipt"]
    assert login(owner, late, code=codes(seed)[0]).status_code == 401
    assert login(owner, text, code=codes(seed)[0]).status_code == 201
    time.sleep(0.01)
    http.patch(f"{V3}/users/{owner.user_id}", json={"user": {"password": "another"}})
    assert login(owner, text, code=codes(seed)[0]).status_code == 401
