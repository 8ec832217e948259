"""What a new cloud holds, so that the first command works: an external network and a few flavors.

It is made through our own API, once: what an administrator deleted or changed afterwards is not made again. It is noted
as made only afterwards, so each step goes on from wherever an earlier start, or another process, got to.
"""

import logging
from ipaddress import ip_network
from typing import Any

import msgspec

from hagane.api.asgi import Application
from hagane.config import Config
from hagane.errors import HaganeError
from hagane.state.database import Database, Tx
from hagane.state.table import Column, Table

log = logging.getLogger(__name__)

SEEDED = Table("seeded", (Column("name", key=True),))
FLAVORS = (("m1.nano", 1, 128, 1), ("m1.tiny", 1, 256, 1), ("m1.small", 1, 512, 5), ("m1.medium", 2, 2048, 20))


class Local:
    """Calls to our own API without a socket."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.token = ""

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer; a body of bytes goes as it is. Raises HaganeError for any status of 400 and more."""
        sent: list[dict[str, Any]] = []
        raw = isinstance(body, bytes)
        payload = body if raw else b"" if body is None else msgspec.json.encode(body)
        kind = b"application/octet-stream" if raw else b"application/json"

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": payload, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        bare, _, query = path.partition("?")
        token = self.token.encode()
        headers = [(b"x-auth-token", token), (b"host", b"localhost"), (b"content-type", kind)]
        scope = {"type": "http", "method": method, "path": bare, "raw_path": bare.encode(), "scheme": "http",
                 "query_string": query.encode(), "headers": headers, "client": ("127.0.0.1", 0)}  # fmt: skip
        await self._app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        if sent[0]["status"] >= 400:
            text = f"{method} {path}: {sent[0]['status']} {answer.decode(errors='replace')[:300]}"
            raise HaganeError(text, status=sent[0]["status"])
        for name, value in sent[0]["headers"]:
            if name == b"x-subject-token":
                self.token = value.decode()
        return msgspec.json.decode(answer) if answer else None

    async def login(self, password: str) -> None:
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        await self.call("POST", "/identity/v3/auth/tokens?nocatalog", {"auth": {"identity": identity, "scope": scope}})


async def seed(app: Application, db: Database, config: Config, password: str) -> None:
    """Make what is missing of the first things. A refusal is logged; the cloud runs without."""
    local = Local(app)
    for name, step in {"flavors": _flavors, "external-network": _external}.items():
        if await SEEDED.get(db, name=name) is not None:
            continue
        try:
            if not local.token:
                await local.login(password)
            await step(local, config)
            await db.write(lambda tx, name=name: _note(tx, name))  # type: ignore[misc]
        except HaganeError as error:
            log.warning("cannot make the first %s: %s", name, error.message)


async def _note(tx: Tx, name: str) -> None:
    if await SEEDED.get(tx, name=name) is None:
        await SEEDED.insert(tx, {"name": name})


async def _flavors(local: Local, config: Config) -> None:
    for name, vcpus, ram, disk in FLAVORS:
        flavor = {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk}
        await _unless_there(local, "/compute/v2.1/flavors", {"flavor": flavor})


async def _external(local: Local, config: Config) -> None:
    """The network `public` on the physical network that leads outside, with addresses for routers and floating IPs."""
    network = {
        "name": "public", "router:external": True, "provider:network_type": "flat",
        "provider:physical_network": "ext", "port_security_enabled": False, "is_default": True,
    }  # fmt: skip
    await _unless_there(local, "/network/v2.0/networks", {"network": network})
    found = (await local.call("GET", "/network/v2.0/networks?provider:physical_network=ext"))["networks"]
    if not found or found[0]["subnets"]:
        return
    prefix = ip_network(config.external_network)
    subnet = {
        "name": "public-v4", "network_id": found[0]["id"], "ip_version": 4, "cidr": str(prefix),
        "gateway_ip": str(prefix[1]), "enable_dhcp": False,
        "allocation_pools": [{"start": str(prefix[10]), "end": str(prefix[-2])}],
    }  # fmt: skip
    await _unless_there(local, "/network/v2.0/subnets", {"subnet": subnet})


async def _unless_there(local: Local, path: str, body: dict[str, Any]) -> None:
    try:
        await local.call("POST", path, body)
    except HaganeError as error:
        if error.extra["status"] != 409:
            raise
