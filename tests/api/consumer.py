"""A consumer of OAuth 1.0, as a program would be one: it signs with oauthlib, which the real clients use too."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import httpx
from oauthlib import oauth1

V3 = "/identity/v3"
TOP = f"{V3}/OS-OAUTH1"


@dataclass
class Program:
    """One consumer. What it signs with may be changed, to see what is refused."""

    http: httpx.Client  # of an administrator
    anyone: httpx.Client
    id: str = ""
    secret: str = ""

    @classmethod
    def made(cls, http: httpx.Client, anyone: httpx.Client, description: str = "x") -> "Program":
        answer = http.post(f"{TOP}/consumers", json={"consumer": {"description": description}})
        assert answer.status_code == 201, answer.text
        consumer = answer.json()["consumer"]
        return cls(http, anyone, consumer["id"], consumer["secret"])

    def sign(self, url: str, token: tuple[str, str] = ("", ""), **more: Any) -> dict[str, str]:
        """The header of a signed POST."""
        given = {"client_secret": self.secret, "resource_owner_key": token[0] or None,
                 "resource_owner_secret": token[1] or None}  # fmt: skip
        headers: dict[str, str] = oauth1.Client(self.id, **given | more).sign(url, http_method="POST")[1]
        return headers

    def post(self, path: str, token: tuple[str, str] = ("", ""), body: Any = None, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        return self.anyone.post(path, json=body, headers=headers | self.sign(self._url(path), token, **more))

    def _url(self, path: str) -> str:
        return str(self.anyone.base_url).rstrip("/") + path

    def ask(self, project: str, **more: Any) -> httpx.Response:
        more = {"callback_uri": "oob", "headers": {"Requested-Project-Id": project}} | more
        return self.post(f"{TOP}/request_token", **more)

    def asked(self, project: str) -> tuple[str, str]:
        """A request token and its secret."""
        return pair(self.ask(project))

    def authorize(self, token: str, roles: Any, http: httpx.Client | None = None) -> httpx.Response:
        return (http or self.http).put(f"{TOP}/authorize/{token}", json={"roles": roles})

    def verifier(self, token: str, roles: Any) -> str:
        answer = self.authorize(token, roles)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"]["oauth_verifier"])

    def take(self, token: tuple[str, str], verifier: str | None, **more: Any) -> httpx.Response:
        return self.post(f"{TOP}/access_token", token, verifier=verifier, **more)

    def granted(self, project: str, roles: Any) -> tuple[str, str]:
        """An access token and its secret."""
        token = self.asked(project)
        return pair(self.take(token, self.verifier(token[0], roles)))

    def login(self, token: tuple[str, str], scope: Any = None, **more: Any) -> httpx.Response:
        auth = {"identity": {"methods": ["oauth1"], "oauth1": {}}} | ({"scope": scope} if scope else {})
        return self.post(f"{V3}/auth/tokens", token, {"auth": auth}, **more)


def pair(answer: httpx.Response) -> tuple[str, str]:
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "application/x-www-form-urlencoded"
    found = parse_qs(answer.text, strict_parsing=True)
    assert set(found) == {"oauth_token", "oauth_token_secret", "oauth_expires_at"}
    return found["oauth_token"][0], found["oauth_token_secret"][0]
