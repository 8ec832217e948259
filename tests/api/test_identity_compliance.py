"""What a domain demands of its users' passwords: lockout, age, history, expiry, change at first use."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from hagane.state import clock

V3 = "/identity/v3"
FIRST = "first-password"


class Place:
    """A domain with such options, and people in it."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        answer = http.post(f"{V3}/domains", json={"domain": {"name": uuid4().hex}}).raise_for_status()
        self.domain = answer.json()["domain"]["id"]

    def demand(self, **options: Any) -> None:
        config = {"config": {"security_compliance": options}}
        self.http.put(f"{V3}/domains/{self.domain}/config", json=config).raise_for_status()

    def user(self, **options: bool) -> str:
        user = {"name": uuid4().hex, "domain_id": self.domain, "password": FIRST, "options": options}
        return str(self.http.post(f"{V3}/users", json={"user": user}).raise_for_status().json()["user"]["id"])

    def login(self, key: str, password: str = FIRST) -> int:
        method = {"methods": ["password"], "password": {"user": {"id": key, "password": password}}}
        return self.http.post(f"{V3}/auth/tokens", json={"auth": {"identity": method}}).status_code

    def change(self, key: str, old: str, new: str) -> str:
        """Why not; empty if it went."""
        body = {"user": {"original_password": old, "password": new}}
        answer = self.http.post(f"{V3}/users/{key}/password", json=body)
        return "" if answer.status_code == 204 else str(answer.json()["error"]["message"])

    def reset(self, key: str, password: str) -> None:
        self.http.patch(f"{V3}/users/{key}", json={"user": {"password": password}}).raise_for_status()


@pytest.fixture
def place(http: httpx.Client) -> Place:
    return Place(http)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, as far as locks and ages go."""
    wall = clock.wall

    def pass_by(seconds: float) -> None:
        monkeypatch.setattr(clock, "wall", lambda: wall() + seconds)

    return pass_by


def test_who_gives_wrong_passwords_is_locked_out_for_a_while(place: Place, later: Callable[[float], None]) -> None:
    place.demand(lockout_failure_attempts=2, lockout_duration=60)
    key, free = place.user(), place.user(ignore_lockout_failure_attempts=True)
    assert [place.login(key, "wrong"), place.login(key), place.login(key, "wrong")] == [401, 201, 401]
    assert [place.login(key, "wrong"), place.login(key)] == [401, 401]
    assert "authentication" in place.change(key, FIRST, "another")
    later(61)
    assert [place.login(key, "wrong"), place.login(key)] == [401, 201]
    assert [place.login(free, "wrong"), place.login(free, "wrong"), place.login(free)] == [401, 401, 201]


def test_a_new_password_is_none_of_the_last_ones(place: Place) -> None:
    place.demand(unique_last_password_count=2)
    key = place.user()
    refused = "The new password cannot be identical to a previous password."
    assert place.change(key, FIRST, FIRST).startswith(refused)
    assert place.change(key, FIRST, "second") == ""
    assert place.change(key, "second", FIRST).startswith(refused)
    assert place.change(key, "second", "third") == ""
    assert place.change(key, "third", FIRST) == ""
    place.reset(key, FIRST)  # an administrator may


def test_a_password_is_kept_for_a_while(place: Place, later: Callable[[float], None]) -> None:
    place.demand(minimum_password_age=2)
    key = place.user()
    assert place.change(key, FIRST, "second") == ""
    assert "it must be used for 2 day(s) before" in place.change(key, "second", "third")
    place.reset(key, "reset")
    assert place.change(key, "reset", "third") == ""
    later(2 * 86_400 + 60)
    assert place.change(key, "third", "fourth") == ""


def test_passwords_expire(place: Place) -> None:
    place.demand(password_expires_days=3)
    shown = [place.http.get(f"{V3}/users/{key}").json()["user"]["password_expires_at"]
             for key in (place.user(), place.user(ignore_password_expiry=True))]  # fmt: skip
    assert clock.after(2.9 * 86_400) < shown[0] < clock.after(3.1 * 86_400)
    assert shown[1] is None


def test_what_an_administrator_set_is_changed_first(place: Place) -> None:
    place.demand(change_password_upon_first_use=True)
    key, free = place.user(), place.user(ignore_change_password_upon_first_use=True)
    assert [place.login(key), place.login(free)] == [401, 201]
    assert place.change(key, FIRST, "second") == ""
    assert place.login(key, "second") == 201
    place.reset(key, "third")
    assert place.login(key, "third") == 401


def test_who_may_not_configure_reads_only_what_passwords_must_be_like(place: Place) -> None:
    place.demand(lockout_duration=5, password_regex="a")
    path = f"{V3}/domains/{place.domain}/config/security_compliance"
    assert place.http.get(path).json()["config"]["security_compliance"]["lockout_duration"] == 5
    place.http.delete(path).raise_for_status()
    key = place.user()
    method = {"methods": ["password"], "password": {"user": {"id": key, "password": FIRST}}}
    answer = place.http.post(f"{V3}/auth/tokens", json={"auth": {"identity": method}})
    token = {"X-Auth-Token": answer.headers["x-subject-token"]}
    seen = place.http.get(path, headers=token).json()["config"]["security_compliance"]
    assert seen == {"password_regex": None, "password_regex_description": None}
    assert place.http.get(f"{path}/lockout_duration", headers=token).status_code == 404
