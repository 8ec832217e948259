"""Emulated BMCs that speak Redfish (DMTF DSP0266, DSP0268): many machines in one process.

Each BMC has an address of its own, as in a rack; which machine a request means is decided by the address it came to.
Sessions and basic authentication; systems, Ethernet interfaces, managers, virtual media, chassis with temperatures.
"""

import asyncio
import base64
import binascii
import hmac
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from hagane.errors import HaganeError, Invalid, NotFound
from hagane.lab.bmc import redfish_tree as tree
from hagane.lab.bmc.faults import FaultFile
from hagane.lab.bmc.machine import Machine

_OPEN = {("GET", "/redfish"), ("GET", "/redfish/v1"), ("POST", tree.SESSIONS)}
_SLOTS = {"Cd": "cd", "Usb": "usb"}
_DEVICES = {"Pxe": "pxe", "Hdd": "disk", "Cd": "cdrom", "UefiHttp": "http"}
_MODES = {"Legacy": "bios", "UEFI": "uefi"}


@dataclass(slots=True)
class RedfishFront:
    """One machine's Redfish service: where it answers, and to whom."""

    machine: Machine
    username: str
    password: str = field(repr=False)
    address: str = "127.0.0.1"
    port: int = 0  # 0: any free one; set once it listens
    faults: FaultFile = field(init=False)
    sessions: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.faults = FaultFile(self.machine.spec.folder)

    def knows(self, username: str, password: str) -> bool:
        right = hmac.compare_digest(f"{username}\0{password}".encode(), f"{self.username}\0{self.password}".encode())
        return right and not self.faults.now().password


class RedfishServer:
    """All Redfish services of one process. `tls`: certificate and key, for https."""

    def __init__(self, fronts: list[RedfishFront], *, tls: tuple[Path, Path] | None = None) -> None:
        self.fronts = fronts
        self._by_address: dict[tuple[str, int], RedfishFront] = {}
        files = {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])} if tls else {}
        config = uvicorn.Config(self._app, interface="asgi3", lifespan="off", log_config=None, access_log=False,
                                proxy_headers=False, **files)  # type: ignore[arg-type]  # fmt: skip
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen everywhere. Errors: OSError, if an address is not to be had."""
        sockets: list[socket.socket] = []
        try:
            sockets += (self._bind(front) for front in self.fronts)
        except OSError:
            for one in sockets:
                one.close()
            raise
        self._task = asyncio.create_task(self._server.serve(sockets=sockets))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        if self._task:
            await self._task

    def _bind(self, front: RedfishFront) -> socket.socket:
        family = socket.AF_INET6 if ":" in front.address else socket.AF_INET
        listening = socket.create_server((front.address, front.port), family=family)
        front.port = listening.getsockname()[1]
        self._by_address[front.address, front.port] = front
        return listening

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        front = self._by_address[tuple(scope["server"])]
        request = Request(scope, receive)
        if front.faults.now().dead and not await _awake(front, request):
            return
        faults = front.faults.now()
        await asyncio.sleep(faults.slow)
        answer = JSONResponse({"odd": [None]}) if faults.wrong else await _answer(front, request)
        await answer(scope, receive, send)


class _Quiet(uvicorn.Server):
    """Signals belong to the process that hosts the emulators."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def _awake(front: RedfishFront, request: Request) -> bool:
    """It hung, and does what it was asked when it comes to; False: nobody waits for that any more."""
    await request.body()
    while front.faults.now().dead:
        if await request.is_disconnected():
            return False
        await asyncio.sleep(0.1)
    return True


async def _answer(front: RedfishFront, request: Request) -> Response:
    path, method = request.url.path.rstrip("/"), request.method
    if (method, path) not in _OPEN and not _allowed(front, request):
        return _error(401, "Base.1.0.InsufficientPrivilege", "the user name or the password is wrong")
    try:
        body = json.loads(await request.body() or b"{}")
        if method == "GET":
            return JSONResponse(tree.resource(front.machine, path))
        return await _act(front, method, path, body if isinstance(body, dict) else {})
    except NotFound as error:
        return _error(404, "Base.1.0.ResourceMissingAtURI", error.message)
    except (Invalid, ValueError) as error:
        return _error(400, "Base.1.0.PropertyValueNotInList", str(error))
    except HaganeError as error:
        return _error(500, "Base.1.0.InternalError", error.message)


def _allowed(front: RedfishFront, request: Request) -> bool:
    if request.headers.get("x-auth-token", "") in front.sessions:
        return not front.faults.now().password
    kind, _, words = request.headers.get("authorization", "").partition(" ")
    try:
        username, _, password = base64.b64decode(words).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return kind.lower() == "basic" and front.knows(username, password)


def _error(status: int, code: str, message: str) -> Response:
    info = [{"MessageId": code, "Message": message}]
    return JSONResponse({"error": {"code": code, "message": message, "@Message.ExtendedInfo": info}}, status)


async def _act(front: RedfishFront, method: str, path: str, body: dict[str, Any]) -> Response:
    machine = front.machine
    if path == tree.SESSIONS and method == "POST":
        return _log_in(front, body)
    if path.startswith(f"{tree.SESSIONS}/") and method == "DELETE":
        front.sessions = {token for token in front.sessions if tree.session_id(token) != path.rpartition("/")[2]}
        return Response(status_code=204)
    if method == "PATCH" and _patched(machine, path.removeprefix(tree.system(machine)), body):
        return Response(status_code=204)
    actions: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
        f"{tree.system(machine)}/Actions/ComputerSystem.Reset": lambda words: _reset(front, words),
        f"{tree.system(machine)}/Bios/Actions/Bios.ResetBios": lambda _: _reset_bios(machine),
        **{f"{tree.media(machine, name)}/Actions/VirtualMedia.{verb}Media": _media(machine, slot, verb)
           for name, slot in _SLOTS.items() for verb in ("Insert", "Eject")},
    }  # fmt: skip
    if method != "POST" or path not in actions:
        raise NotFound(f"there is no {method} {path}")
    await actions[path](body)
    return Response(status_code=204)


def _log_in(front: RedfishFront, body: dict[str, Any]) -> Response:
    if not front.knows(str(body.get("UserName")), str(body.get("Password"))):
        return _error(401, "Base.1.0.InsufficientPrivilege", "the user name or the password is wrong")
    token = secrets.token_hex(16)
    front.sessions.add(token)
    uri = f"{tree.SESSIONS}/{tree.session_id(token)}"
    content = {"@odata.id": uri, "Id": tree.session_id(token), "Name": "Session", "UserName": front.username}
    return JSONResponse(content, 201, {"X-Auth-Token": token, "Location": uri})


def _patched(machine: Machine, part: str, body: dict[str, Any]) -> bool:
    """Change the system or what is beneath it; False: nothing there can be changed."""
    match part:
        case "":
            _set_boot(machine, body.get("Boot") or {})
            if "IndicatorLED" in body:
                machine.set_led(str(body["IndicatorLED"]))
        case "/Bios/Settings":
            machine.set_bios(dict(body.get("Attributes") or {}))
        case "/SecureBoot":
            machine.set_secure_boot(on=bool(body.get("SecureBootEnable")))
        case _:
            return False
    return True


async def _reset_bios(machine: Machine) -> None:
    machine.set_bios(machine.bios(factory=True))


def _set_boot(machine: Machine, boot: dict[str, Any]) -> None:
    if mode := boot.get("BootSourceOverrideMode"):
        if mode not in _MODES:
            raise Invalid(f"BootSourceOverrideMode {mode} is not one of {', '.join(_MODES)}")
        machine.set_mode(_MODES[mode])
    target, enabled = boot.get("BootSourceOverrideTarget"), boot.get("BootSourceOverrideEnabled")
    if enabled == "Disabled" or target == "None":
        machine.set_boot("", persistent=False)
    elif target or enabled:
        device = _DEVICES.get(str(target)) if target else machine.settings.boot
        if device is None:
            raise Invalid(f"BootSourceOverrideTarget {target} is not one of {', '.join(_DEVICES)}")
        keep = enabled == "Continuous" if enabled else machine.settings.persistent
        machine.set_boot(device, persistent=keep, http_uri=str(boot.get("HttpBootUri") or ""))


async def _reset(front: RedfishFront, body: dict[str, Any]) -> None:
    kind = str(body.get("ResetType"))
    machine = front.machine
    verbs = {
        "On": machine.on, "ForceOn": machine.on, "ForceOff": machine.off, "ForceRestart": machine.reset,
        "GracefulShutdown": machine.press, "PushPowerButton": machine.press, "Nmi": machine.interrupt,
    }  # fmt: skip
    if kind not in verbs:
        raise Invalid(f"ResetType {kind} is not one of {', '.join(verbs)}")
    if not front.faults.now().stuck:
        await verbs[kind]()


def _media(machine: Machine, slot: str, verb: str) -> Callable[[dict[str, Any]], Awaitable[None]]:
    async def insert(body: dict[str, Any]) -> None:
        if not body.get("Image"):
            raise Invalid("Image is missing")
        await machine.insert(slot, str(body["Image"]))

    async def eject(_body: dict[str, Any]) -> None:
        await machine.eject(slot)

    return insert if verb == "Insert" else eject
