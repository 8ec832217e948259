"""The command line's way to the running process: plain HTTP with the administrator's own credentials."""

import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec
import yaml

from hagane import process
from hagane.config import Config
from hagane.errors import HaganeError, NotFound, Unavailable


class Session:
    """Several requests to the process that serves from this state folder, by one token of the project admin, or
    of the administrator of the `system`."""

    def __init__(self, config: Config, *, system: bool = False) -> None:
        """Raises Unavailable."""
        known = process.find(config)
        if known is None:
            raise Unavailable(f"No Hagane runs from {config.state}. Start it with: hagane up")
        self._url = known.url
        self._token, self.project_id = _token(config, known.url, system=system)

    def call(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The decoded answer. Raises Unavailable, NotFound, HaganeError."""
        sent = None if body is None else msgspec.json.encode(body)
        _, answer, _ = _http(method, f"{self._url}{path}", {"X-Auth-Token": self._token, **(headers or {})}, sent)
        return msgspec.json.decode(answer) if answer else None

    def upload(self, path: str, content: BinaryIO) -> None:
        """PUT the bytes of a file. Raises as `call`."""
        told = {"X-Auth-Token": self._token, "Content-Type": "application/octet-stream"}
        length = content.seek(0, os.SEEK_END)
        content.seek(0)
        _http("PUT", f"{self._url}{path}", told | {"Content-Length": str(length)}, content)


def call(config: Config, method: str, path: str) -> Any:
    """One request to the process that serves from this state folder. Raises Unavailable, NotFound, HaganeError."""
    return Session(config).call(method, path)


def _token(config: Config, url: str, *, system: bool) -> tuple[str, str]:
    """(token, id of its project, if it is one's)"""
    auth = yaml.safe_load((config.state / "clouds.yaml").read_text())["clouds"]["hagane"]["auth"]
    user = {"name": auth["username"], "domain": {"name": auth["user_domain_name"]}, "password": auth["password"]}
    project = {"project": {"name": auth["project_name"], "domain": {"name": auth["project_domain_name"]}}}
    scope = {"system": {"all": True}} if system else project
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    _, answer, headers = _http("POST", f"{url}/identity/v3/auth/tokens?nocatalog", {}, msgspec.json.encode(body))
    return headers["x-subject-token"], msgspec.json.decode(answer)["token"].get("project", {}).get("id", "")


def _http(
    method: str, url: str, headers: dict[str, str], body: bytes | BinaryIO | None
) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"} | headers, method=method)
    context = ssl._create_unverified_context() if url.startswith("https") else None  # our own process, our own state
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        raise _refusal(error) from error
    except OSError as error:
        raise Unavailable(f"The process at {url} does not answer: {error}.") from error


def _refusal(error: urllib.error.HTTPError) -> HaganeError:
    try:
        message = _message(msgspec.json.decode(error.read()))
    except (msgspec.DecodeError, KeyError, TypeError, StopIteration):
        message = f"HTTP {error.code}"
    return NotFound(message) if error.code == 404 else HaganeError(message)


def _message(body: dict[str, Any]) -> str:
    """What a refusal says, in the envelope of whichever service it is."""
    if "error_message" in body:
        inner = body["error_message"]
        inner = msgspec.json.decode(inner) if isinstance(inner, str) else inner
        return str(inner.get("faultstring") or inner["description"])
    return str(next(iter(body.values()))["message"])


def explain(config: Config, kind: str, name: str) -> list[str]:
    """The explanation of one thing as lines for a person."""
    from urllib.parse import quote

    found = call(config, "GET", f"/hagane/v1/explain/{quote(kind)}/{quote(name, safe='')}")
    title = f"{found['kind']} {found['name']} ({found['id']})" if found["name"] else f"{found['kind']} {found['id']}"
    lines = [f"{title}: {found['state'] or 'no state of its own'}", *(f"  {fact}" for fact in found["facts"])]
    lines += [_wait_line(wait) for wait in found["waits"]]
    if found["steps"]:
        lines += ["  steps:", *(_step_line(step) for step in found["steps"])]
    return lines + [f"  → {advice}" for advice in found["advice"]]


def _wait_line(wait: dict[str, Any]) -> str:
    now = time.time()
    reason = wait["reason"].rstrip(".")
    text = f"  waits: {wait['kind']} {wait['key']}: {reason}, for {max(0, now - wait['since']):.0f} s"
    if wait["again"] > now + 1:
        text += f", looks again in {wait['again'] - now:.0f} s"
    if wait["until"]:
        text += f", gives up in {max(0, wait['until'] - now):.0f} s"
    return text + (f", tried {wait['attempts']} times" if wait["attempts"] > 1 else "")


def _step_line(step: dict[str, Any]) -> str:
    mark = {"Success": "✓", "Error": "✗"}.get(step["result"], "…")
    percent = f" {step['percent']} %" if step["percent"] is not None and mark == "…" else ""
    return f"    {mark} {step['step']:<24} {step['seconds']:>8.2f} s{percent}  {step['message']}".rstrip()
