"""Options of one domain, and that each of them does something."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.people import Person

V3 = "/identity/v3"
WRONG = "Invalid domain specific configuration: "


@pytest.fixture
def domain(http: httpx.Client) -> str:
    answer = http.post(f"{V3}/domains", json={"domain": {"name": uuid4().hex}}).raise_for_status()
    return str(answer.json()["domain"]["id"])


def ask(http: httpx.Client, method: str, path: str, config: Any = None, status: int = 200) -> Any:
    answer = http.request(method, f"{V3}/domains/{path}", json=None if config is None else {"config": config})
    assert answer.status_code == status, answer.text
    body = answer.json() if answer.content else {}
    return body.get("config", body.get("error", {}).get("message"))


def test_options_come_and_go(http: httpx.Client, domain: str) -> None:
    at = f"{domain}/config"
    missing = ask(http, "GET", at, status=404)
    assert missing == f"Could not find any options in domain configuration for domain {domain}."
    config = {"identity": {"driver": "sql", "list_limit": 9}}
    assert ask(http, "PUT", at, config, 201) == ask(http, "PUT", at, config) == ask(http, "GET", at) == config
    assert ask(http, "GET", f"{at}/identity") == config
    assert ask(http, "GET", f"{at}/identity/list_limit") == {"list_limit": 9}
    assert ask(http, "PATCH", f"{at}/identity/list_limit", {"list_limit": 8})["identity"]["list_limit"] == 8
    assert ask(http, "PATCH", f"{at}/identity", {"identity": {"list_limit": 7}})["identity"]["list_limit"] == 7
    words = {"security_compliance": {"password_regex_description": "long"}}
    assert ask(http, "PATCH", at, words).keys() == {"identity", "security_compliance"}
    ask(http, "DELETE", f"{at}/identity/driver", status=204)
    assert ask(http, "GET", f"{at}/identity") == {"identity": {"list_limit": 7}}
    ask(http, "DELETE", f"{at}/identity", status=204)
    ask(http, "DELETE", f"{at}/identity", status=404)
    ask(http, "DELETE", at, status=204)
    ask(http, "GET", at, status=404)


REFUSED: list[tuple[str, str, Any, str]] = [
    ("PUT", "", {}, "No options specified."),
    ("PUT", "", {"ldap": {"url": "ldap://x"}}, "Group ldap is not supported for domain specific configurations."),
    ("PUT", "", {"identity": {"driver": "ldap"}}, "There is no driver 'ldap' for users and groups."),
    ("PUT", "", {"identity": {"x": 1}}, "Option x in group identity is not supported"),
    ("PUT", "", {"identity": []}, "The value of group identity specified in the config should be a dictionary"),
    ("PATCH", "/identity", {"security_compliance": {"password_regex": "x"}}, "Trying to update group identity"),
]


@pytest.mark.parametrize(("method", "path", "config", "why"), REFUSED)
def test_what_would_do_nothing_is_refused(
    http: httpx.Client, domain: str, method: str, path: str, config: Any, why: str
) -> None:
    assert ask(http, method, f"{domain}/config{path}", config, 403).startswith(WRONG + why)
    ask(http, "GET", f"{domain}/config", status=404)


@pytest.mark.parametrize("options", [{"list_limit": 0}, {"list_limit": "many"}])
def test_values_that_cannot_be(http: httpx.Client, domain: str, options: dict[str, Any]) -> None:
    ask(http, "PUT", f"{domain}/config", {"identity": options}, 400)


def test_defaults(http: httpx.Client) -> None:
    assert ask(http, "GET", "config/default")["identity"] == {"driver": "sql", "list_limit": None}
    assert ask(http, "GET", "config/identity/default") == {"identity": {"driver": "sql", "list_limit": None}}
    assert ask(http, "GET", "config/identity/driver/default") == {"driver": "sql"}
    ask(http, "GET", "config/ldap/default", status=403)


def test_a_list_of_the_domain_shows_so_many(http: httpx.Client, domain: str) -> None:
    for kind in ("user", "group"):
        for _ in range(3):
            http.post(f"{V3}/{kind}s", json={kind: {"name": uuid4().hex, "domain_id": domain}}).raise_for_status()
        path = f"{V3}/{kind}s?domain_id={domain}"
        ask(http, "PUT", f"{domain}/config", {"identity": {"list_limit": 2}}, 201)
        for query in ("", "&limit=3"):
            shown = http.get(path + query).json()
            assert (len(shown[f"{kind}s"]), shown["truncated"]) == (2, True)
        assert len(http.get(path + "&limit=1").json()[f"{kind}s"]) == 1
        ask(http, "DELETE", f"{domain}/config", status=204)
        assert len(http.get(path).json()[f"{kind}s"]) == 3


def test_passwords_are_as_the_domain_wants_them(http: httpx.Client, domain: str) -> None:
    told = {"password_regex": r"^(?=.*\d).{7,}$", "password_regex_description": "7 characters and a digit"}
    for wrong in ("(", "a{99999999999999999999}"):
        ask(http, "PUT", f"{domain}/config", {"security_compliance": {"password_regex": wrong}}, 400)
    ask(http, "PUT", f"{domain}/config", {"security_compliance": told}, 201)

    def made(password: str) -> httpx.Response:
        user = {"name": uuid4().hex, "domain_id": domain, "password": password}
        return http.post(f"{V3}/users", json={"user": user})

    refused = "The password does not match the requirements: 7 characters and a digit."
    assert made("short1").json()["error"] == {"code": 400, "message": refused, "title": "Bad Request"}
    key = made("1234567").json()["user"]["id"]
    change = {"original_password": "1234567", "password": "abcdefgh"}
    assert http.patch(f"{V3}/users/{key}", json={"user": {"password": "abcdefgh"}}).status_code == 400
    assert http.post(f"{V3}/users/{key}/password", json={"user": change}).status_code == 400
    change["password"] = "abcdefg8"
    assert http.post(f"{V3}/users/{key}/password", json={"user": change}).status_code == 204
    other = {"name": uuid4().hex, "domain_id": "default", "password": "x"}
    assert http.post(f"{V3}/users", json={"user": other}).status_code == 201


def test_everybody_may_know_what_passwords_must_be_like(stranger: Person) -> None:
    nothing = {"password_regex": None, "password_regex_description": None}
    assert ask(stranger.http, "GET", "default/config/security_compliance") == {"security_compliance": nothing}
    assert ask(stranger.http, "GET", "default/config/security_compliance/password_regex") == {"password_regex": None}
    for path in ("default/config", "default/config/identity", "config/default"):
        ask(stranger.http, "GET", path, status=403)
    ask(stranger.http, "PUT", "default/config", {"identity": {"driver": "sql"}}, 403)


def test_options_go_with_their_domain(http: httpx.Client, domain: str) -> None:
    ask(http, "PUT", f"{domain}/config", {"identity": {"list_limit": 2}}, 201)
    http.patch(f"{V3}/domains/{domain}", json={"domain": {"enabled": False}}).raise_for_status()
    http.delete(f"{V3}/domains/{domain}").raise_for_status()
    assert ask(http, "GET", f"{domain}/config", status=404) == f"Could not find domain: {domain}."
