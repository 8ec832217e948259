"""Consoles: what a Server's serial port has printed, and the live port over a WebSocket.

    POST remote-consoles ─▶ a token, good for ten minutes to begin with ─▶ ws://…/compute/console/?token=… ─▶ the Host

The token alone opens the socket: it is what a browser has. Only its hash is stored.
"""

import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import Enum, Obj
from hagane.cloud import Cloud
from hagane.compute.action import Action
from hagane.compute.base import ROOT, V21, api, at, need
from hagane.compute.kinds import Count
from hagane.compute.row import SERVER
from hagane.compute.server import find
from hagane.errors import Conflict, Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.table import Column, Op, Table

SOCKET = ROOT + "/console/"
SECONDS = 600  # a token opens a console for so long
TOKEN = Table(
    "console_token",
    (Column("hash", key=True), Column("server_id"), Column("type"), Column("expires", "real")),
    ("server_id", "expires"),
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f]")

Viewer = tuple[AsyncGenerator[bytes, None], Callable[[bytes], Awaitable[None]]]


@dataclass(frozen=True)
class Consoles:
    """The side of the Hosts; who has them provides it. Both take Host and Server, and raise Unavailable."""

    log: Callable[[str, str], Awaitable[bytes]]
    live: Callable[[str, str], Awaitable[Viewer]]  # a later viewer takes it over


@dataclass(frozen=True)
class NodeConsoles:
    """The side of the Nodes, by their ids."""

    log: Callable[[str], Awaitable[bytes]]
    live: Callable[[str], Awaitable[Viewer]]


async def log_of(cloud: Cloud, row: Row) -> bytes:
    """What a Server has printed. Raises Unavailable, DeviceFailed."""
    if row["node_id"]:
        return await cloud.use(NodeConsoles).log(row["node_id"])
    return await cloud.use(Consoles).log(row["host"], row["id"])


async def live_of(cloud: Cloud, row: Row) -> Viewer:
    """A Server's serial port. Raises Unavailable, DeviceFailed."""
    if row["node_id"]:
        return await cloud.use(NodeConsoles).live(row["node_id"])
    return await cloud.use(Consoles).live(row["host"], row["id"])


LENGTH = Obj(fields={"length": Count(min=-1, nullable=True)})
SERIAL = Obj(fields={"type": Enum(values=("serial",))}, required=("type",))
PROTOCOLS = {"vnc": ("novnc", "xvpvnc"), "spice": ("spice-html5",), "rdp": ("rdp-html5",), "serial": ("serial",),
             "mks": ("webmks",)}  # fmt: skip


def actions(cloud: Cloud) -> dict[str, Action]:
    """os-getConsoleOutput, os-getSerialConsole (until 2.5), and the consoles that a machine here does not have."""

    async def output(request: Request, value: Any) -> Response:
        row = await _ready(cloud, request, api("os-console-output"))
        log = await log_of(cloud, row)
        return json_response(200, {"output": _tail(log, value.get("length"))})

    async def serial(request: Request, _: Any) -> Response:
        row = await _ready(cloud, request, api("os-remote-consoles"))
        return json_response(200, {"console": {"type": "serial", "url": await _open(cloud, request, row)}})

    def absent(kind: str) -> Action:
        async def refuse(request: Request, value: Any) -> Response:
            await _ready(cloud, request, api("os-remote-consoles"))
            raise Invalid(f"Unavailable console type {(value or {}).get('type', kind)}.")

        return Action(refuse, "os-remote-consoles", until="2.5")

    return {
        "os-getConsoleOutput": Action(output, "os-console-output", body=lambda _: LENGTH),
        "os-getSerialConsole": Action(serial, "os-remote-consoles", until="2.5", body=lambda _: SERIAL),
        "os-getVNCConsole": absent("novnc"),
        "os-getSPICEConsole": absent("spice-html5"),
        "os-getRDPConsole": absent("rdp-html5"),
    }


def _tail(log: bytes, lines: int | None) -> str:
    """The last lines, without what a terminal would not print; -1 is all."""
    text = log.decode("utf-8", "replace").replace("\r\n", "\n")
    if lines is not None and lines >= 0:
        text = "\n".join(text.split("\n")[-lines:]) if lines else ""
    return _CONTROL.sub("", text)


async def _ready(cloud: Cloud, request: Request, rule: str) -> Row:
    row = await find(cloud.db, request)
    need(request, rule, row)
    if not row["host"]:
        raise Conflict(f"Instance {row['id']} is not ready")
    return row


def routes(cloud: Cloud) -> list[Route]:
    """remote-consoles (2.6), and for administrators what a token is for (2.31)."""

    async def create(request: Request) -> Response:
        names = [name for name in PROTOCOLS if name != "mks" or request.version >= (2, 8)]
        kinds = [kind for name in names for kind in PROTOCOLS[name]] + (["spice-direct"] if at(request, 99) else [])
        body = Obj(fields={"protocol": Enum(values=tuple(names)), "type": Enum(values=tuple(kinds))},
                   required=("protocol", "type"))  # fmt: skip
        given = Obj(fields={"remote_console": body}, required=("remote_console",)).check("", await request.json())
        wanted = given["remote_console"]
        row = await _ready(cloud, request, api("os-remote-consoles"))
        if wanted["protocol"] != "serial" or wanted["type"] != "serial":
            raise Invalid(f"Unavailable console type {wanted['type']}.")
        url = await _open(cloud, request, row)
        return json_response(200, {"remote_console": {"protocol": "serial", "type": "serial", "url": url}})

    async def show(request: Request) -> Response:
        need(request, api("os-console-auth-tokens"), {})
        row = await _token(cloud, request.params["token"])
        server = await SERVER.get(cloud.db, id=row["server_id"]) if row else None
        if row is None or server is None:
            raise NotFound("Token not found")
        view = {"instance_uuid": server["id"], "host": server["host"], "port": None, "internal_access_path": None}
        return json_response(200, {"console": view})

    return [
        Route("POST", V21 + "/servers/{id}/remote-consoles", create, "console:create", rule=api("os-remote-consoles"),
              since="2.6"),
        Route("GET", V21 + "/os-console-auth-tokens/{token}", show, "console_token:show",
              rule=api("os-console-auth-tokens"), since="2.31"),
    ]  # fmt: skip


async def _open(cloud: Cloud, request: Request, row: Row) -> str:
    """A new token, and the address where it opens the Server's serial port."""
    token = secrets.token_urlsafe(32)
    now = clock.wall()

    async def work(tx: Tx) -> None:
        await TOKEN.delete(tx, {"expires": Op("<", now)})
        await TOKEN.insert(
            tx, {"hash": _hash(token), "server_id": row["id"], "type": "serial", "expires": now + SECONDS}
        )

    await cloud.db.write(work)
    base = request.base_url.replace("http", "ws", 1)
    return f"{base}{SOCKET}?token={token}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def _token(cloud: Cloud, token: str) -> Row | None:
    row = await TOKEN.get(cloud.db, hash=_hash(token))
    return row if row is not None and row["expires"] > clock.wall() else None


async def server_of(cloud: Cloud, token: str) -> Row | None:
    """The Server whose console a token opens now."""
    row = await _token(cloud, token)
    return await SERVER.get(cloud.db, id=row["server_id"]) if row else None
