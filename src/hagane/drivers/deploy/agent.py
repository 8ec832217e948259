"""A ramdisk that speaks the ironic-python-agent's REST protocol: the original's, or our own small one.

    POST /v1/commands/?wait=false&agent_token=...   {"name": "standby.prepare_image", "params": {...}}
    GET  /v1/commands/?agent_token=...              GET /v1/commands/<id>?agent_token=...

Each call is one connection, opened by `Dial`: a ramdisk is reached through a network that the process is not in.
A ramdisk that announced a certificate (agent_verify_ca) is believed with exactly that certificate, whatever its name.
What a ramdisk answers is limited in size and time: it is the least trusted machine that there is.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import h11

from hagane.drivers.deploy.base import Command, CommandState, Dial
from hagane.errors import DeviceFailed, Unavailable

LIMIT = 32 << 20  # bytes of an answer: collected logs are the largest
CONNECT = 10.0  # for a connection: a machine that has lost its power or its cable is told from one that is busy
SECONDS = 60.0  # for one exchange
WAIT = 600.0  # for the end of a short command
PAUSE = 0.1
# On the wire a command is shown without its extension.
EXTENSIONS = {
    "prepare_image": "standby", "get_partition_uuids": "standby", "sync": "standby", "power_off": "standby",
    "run_image": "standby", "install_bootloader": "image", "get_deploy_steps": "deploy",
    "execute_deploy_step": "deploy",
    "get_clean_steps": "clean", "execute_clean_step": "clean", "get_service_steps": "service",
    "execute_service_step": "service", "get_hardware_info": "poll", "finalize_rescue": "rescue",
    "collect_system_logs": "log", "lockdown": "system",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Where a ramdisk is: what it said in its heartbeat, and the token that lookup gave it."""

    url: str
    token: str
    verify_ca: str = ""

    def __repr__(self) -> str:
        return f"AgentAddress({self.url})"


class HttpAgent:
    """One ramdisk, by `AgentAddress`. See drivers/deploy/base.py."""

    def __init__(self, address: AgentAddress, dial: Dial) -> None:
        self.address, self.dial = address, dial
        parts = urlsplit(address.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DeviceFailed(f"The ramdisk announced an address that is none: {address.url}")
        self.host, self.tls = parts.hostname, parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.base = parts.path.rstrip("/") + "/v1/commands/"

    async def commands(self) -> list[Command]:
        answer = await self._exchange("GET", "", {})
        found = answer.get("commands") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise DeviceFailed("The ramdisk's list of commands is not one.")
        return [_command(one) for one in found]

    async def start(self, name: str, params: Mapping[str, Any]) -> Command:
        return _command(await self._exchange("POST", "", {"wait": "false"}, {"name": name, "params": dict(params)}))

    async def result(self, command_id: str) -> Command:
        return _command(await self._exchange("GET", command_id, {}))

    async def call(self, name: str, params: Mapping[str, Any]) -> Command:
        command = await self.start(name, params)
        try:
            async with asyncio.timeout(WAIT):
                while command.state == CommandState.RUNNING:
                    await asyncio.sleep(PAUSE)
                    command = await self.result(command.id)
        except TimeoutError as error:
            raise Unavailable(f"The ramdisk's command {name} did not end within {WAIT:g} s.") from error
        return command

    async def _exchange(self, method: str, path: str, query: dict[str, str], body: Any = None) -> Any:
        target = f"{self.base}{path}?{urlencode(query | {'agent_token': self.address.token})}"
        try:
            async with asyncio.timeout(SECONDS):
                status, data = await self._request(method, target, b"" if body is None else json.dumps(body).encode())
        except TimeoutError as error:
            raise Unavailable(f"The ramdisk at {self.host} did not answer within {SECONDS:g} s.") from error
        except (OSError, h11.RemoteProtocolError) as error:
            raise Unavailable(f"The ramdisk at {self.host} cannot be reached: {_words(error)}.") from error
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise DeviceFailed(f"The ramdisk at {self.host} answers {status} without a document.") from error
        if status >= 300:
            raise _refused(status, answer)
        return answer

    async def _request(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await self.dial(self.host, self.port)
        except TimeoutError as error:
            raise OSError(f"no connection within {CONNECT:g} s") from error
        try:
            if self.tls:
                await writer.start_tls(_context(self.address.verify_ca), server_hostname=self.host)
            wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=64 << 10)
            headers = [("Host", f"{self.host}:{self.port}"), ("Connection", "close"), ("Accept", "application/json")]
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            head = wire.send(h11.Request(method=method, target=target, headers=headers)) or b""
            data = wire.send(h11.Data(data=body)) or b""
            wire.send(h11.EndOfMessage())
            writer.write(head + data)
            await writer.drain()
            return await _answer(reader, wire)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader, wire: h11.Connection) -> tuple[int, bytes]:
    """Status and body. Raises DeviceFailed when it is too large."""
    status, body = 0, bytearray()
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LIMIT:
                raise DeviceFailed(f"The ramdisk answers with more than {LIMIT >> 20} MB.")
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise OSError("it closed the connection")


@lru_cache(64)
def _context(verify_ca: str) -> ssl.SSLContext:
    """TLS with the announced certificate as the only one that is believed; its name is an address that may change."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if not verify_ca:
        raise DeviceFailed("The ramdisk announced https without its certificate (agent_verify_ca).")
    try:
        context.load_verify_locations(cadata=verify_ca)
    except (ssl.SSLError, ValueError) as error:
        raise DeviceFailed("The certificate that the ramdisk announced (agent_verify_ca) cannot be read.") from error
    return context


def _refused(status: int, answer: Any) -> DeviceFailed:
    words = str(answer.get("faultstring", "") if isinstance(answer, dict) else "")[:2000] or f"status {status}"
    if status == 401:
        return DeviceFailed("The ramdisk does not accept our token: it is another one, or it was started anew.",
                            code="AgentToken")  # fmt: skip
    if status == 409:
        return DeviceFailed(f"The ramdisk is busy with another command: {words}", code="AgentBusy")
    if status == 404:
        return DeviceFailed(f"The ramdisk does not know that: {words}", code="AgentUnknown")
    return DeviceFailed(f"The ramdisk refuses: {words}", code="AgentRefused")


def _command(shown: Any) -> Command:
    if not isinstance(shown, dict) or not isinstance(shown.get("id"), str):
        raise DeviceFailed("The ramdisk's answer describes no command.")
    name = str(shown.get("command_name", ""))
    if "." not in name and name in EXTENSIONS:
        name = f"{EXTENSIONS[name]}.{name}"
    try:
        state = CommandState(str(shown.get("command_status")))
    except ValueError as error:
        raise DeviceFailed(f"The ramdisk reports a state that does not exist: {shown.get('command_status')}") from error
    result = shown.get("command_result")
    if result is not None and not isinstance(result, dict):
        result = {"result": result}
    return Command(shown["id"], name, state, result or {}, _error(shown.get("command_error")))


def _error(given: Any) -> str:
    """In words: what kind of thing went wrong, and what it was."""
    if not given:
        return ""
    if not isinstance(given, dict):
        return str(given)[:4000]
    words = [str(given[key]).strip() for key in ("message", "details") if given.get(key)]
    return ": ".join(words)[:4000] or str(given.get("type", "an error without words"))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
