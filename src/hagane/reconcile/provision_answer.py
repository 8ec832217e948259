"""What a machine on a provisioning network gets: the files of the Node that has its address, and the agent's routes.

    who asks?  network + address ─▶ Port ─▶ Nic that carries it ─▶ Node and role          others: 404, always
    what?      /boot.ipxe, pxelinux.cfg/..., grub.cfg      its plan, made anew from its row
               /loader/<name>, <name> by TFTP              boot loaders of Debian
               /kernel, /ramdisk, /boot.iso                what it boots
               /image/<token>                              its image, once
               /baremetal...                               version, lookup, heartbeat, continue_inspection: of itself
               a tenant's system that runs from a volume (role "storage"): /boot.ipxe and /loader/<name>, no more

Nothing else of the API is reachable from here.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from hagane.api.asgi import Application
from hagane.baremetal.agent import PROVISIONING
from hagane.baremetal.node import NODE
from hagane.baremetal.provision import Fetched
from hagane.baremetal.service_port import ALL, OWNER, STORAGE
from hagane.cloud import Cloud
from hagane.drivers.boot import loader
from hagane.drivers.boot.base import ISO, KERNEL, LOADERS, RAMDISK, BootPlan
from hagane.drivers.boot.ipxe import SCRIPT
from hagane.drivers.metadata.base import Piece, Question, Reply
from hagane.errors import HaganeError, NotFound
from hagane.reconcile import node_volume
from hagane.state.database import Reader, Row

NOTHING = Reply(404, b"Not Found\n", {"content-type": "text/plain"})
BYTES, TEXT = "application/octet-stream", "text/plain; charset=utf-8"
_OPEN = re.compile(r"/baremetal/?(v1/?)?\Z")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)  # more digits are a machine's joke
_WHO = """SELECT {node}, port.device_owner FROM port
JOIN allocation ON allocation.owner = port.id AND allocation.kind = 'ip' AND allocation.item = :ip
JOIN {nic} nic ON nic.plugged = port.id JOIN node ON node.id = nic.node_id AND node.id = port.device_id
WHERE port.network_id = :network"""
_NODE = ", ".join(f"node.{name}" for name in NODE.names)
_FIND = " UNION ALL ".join(_WHO.format(node=_NODE, nic=table) for table in ("nic", "nic_group"))


@dataclass(frozen=True, slots=True)
class Guest:
    """A Node that asks, and why its ramdisk runs."""

    node: Row
    role: str
    network_id: str


async def guest(db: Reader, network_id: str, address: str) -> Guest | None:
    """Who has an address. A Port's own word does not count: the Node must carry it, in a role of ours."""
    for *node, owner in await db.fetch_tuples(_FIND, {"network": network_id, "ip": address}):
        if (role := str(owner).removeprefix(OWNER)) in ALL:
            return Guest(NODE.decode(node), role, network_id)
    return None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the answers come from; reconcile/provision.py knows. Each may raise a HaganeError."""

    plan: Callable[[Guest], Awaitable[BootPlan]]
    kernel: Callable[[Guest], Awaitable[Path]]
    ramdisk: Callable[[Guest], Awaitable[Path]]
    iso: Callable[[Guest], Awaitable[Path]]
    image: Callable[[Guest, str, Question], Awaitable[Reply]]  # guest, token
    fetched: Callable[[str, Fetched, str], None]


class Answers:
    """From request to reply, for HTTP and TFTP alike."""

    def __init__(self, cloud: Cloud, sources: Sources) -> None:
        self._cloud, self._sources = cloud, sources

    async def answer(self, question: Question) -> Reply:
        who = await guest(self._cloud.db, question.network_id, question.client)
        if who is None:
            return NOTHING
        path, _, query = question.target.partition("?")
        try:
            if who.role == STORAGE:
                return await self._storage(who, unquote(path).lstrip("/"), question)
            if path.startswith("/baremetal"):
                return await self._api(who, question, unquote(path), query)
            if question.method not in ("GET", "HEAD", "TFTP"):
                return NOTHING
            return await self._file(who, unquote(path).lstrip("/"), question)
        except NotFound:
            return NOTHING
        except HaganeError as error:
            return Reply(503, error.message.encode() + b"\n", {"content-type": TEXT, "retry-after": "2"})

    async def _file(self, who: Guest, path: str, question: Question) -> Reply:
        ranges, sources = question.headers.get("range", ""), self._sources
        match path:
            case _ if path == KERNEL:
                return self._send(who, await sources.kernel(who), Fetched.KERNEL, ranges)
            case _ if path == RAMDISK:
                return self._send(who, await sources.ramdisk(who), Fetched.RAMDISK, ranges)
            case _ if path == ISO:
                # By UEFI HTTP boot: the machine's own firmware takes kernel and ramdisk in one.
                return self._send(who, await sources.iso(who), Fetched.RAMDISK, ranges)
            case _ if path.startswith("image/"):
                return await sources.image(who, path.removeprefix("image/"), question)
        if (name := path.removeprefix(LOADERS)) in loader.FILES:
            return self._send(who, loader.find(name), Fetched.FIRMWARE, ranges)
        return await self._text(who, path)

    async def _storage(self, who: Guest, path: str, question: Question) -> Reply:
        """What starts a machine from its volume; nothing of it is a step of a deployment."""
        if question.method not in ("GET", "HEAD", "TFTP"):
            return NOTHING
        if (name := path.removeprefix(LOADERS)) in loader.FILES:
            return piece(loader.find(name), question.headers.get("range", ""), lambda whole: None)
        if path != SCRIPT:
            return NOTHING
        text = await node_volume.script(self._cloud, who.node)
        return Reply(200, text.encode(), {"content-type": TEXT, "cache-control": "no-store"})

    async def _text(self, who: Guest, path: str) -> Reply:
        files = (await self._sources.plan(who)).files
        folder, _, last = path.rpartition("/")
        text = files.get(last) or files.get(folder.rpartition("/")[2] + "/")
        if not text:
            return NOTHING
        return Reply(200, text.encode(), {"content-type": TEXT}, ended=self._ended(who, Fetched.SCRIPT))

    def _send(self, who: Guest, file: Path, what: Fetched, ranges: str) -> Reply:
        return piece(file, ranges, self._ended(who, what))

    def _ended(self, who: Guest, what: Fetched) -> Callable[[bool], None]:
        tell, node_id = self._sources.fetched, str(who.node["id"])
        tell(node_id, what, "begun")

        def ended(whole: bool) -> None:
            if whole:
                tell(node_id, what, "done")

        return ended

    # -- the agent's routes --------------------------------------------------------------------------------------

    async def _api(self, who: Guest, question: Question, path: str, query: str) -> Reply:
        """The agent may speak of its own Node only: it is named for it where it asks for itself."""
        node_id, method = str(who.node["id"]), question.method
        asks_for_itself = {("GET", "/baremetal/v1/lookup"), ("POST", "/baremetal/v1/continue_inspection")}
        heartbeat = ("POST", f"/baremetal/v1/heartbeat/{node_id}")
        if (method, path) in asks_for_itself:
            words = [(name, value) for name, value in parse_qsl(query) if name != "node_uuid"]
            query = urlencode([*words, ("node_uuid", node_id)])
        elif (method, path) != heartbeat and not (method in ("GET", "HEAD") and _OPEN.match(path)):
            return NOTHING
        return await delegate(self._cloud.use(Application), question, path, query)


async def delegate(app: Application, question: Question, path: str, query: str) -> Reply:
    """A request of a machine as one to the application."""
    given, status, answer = [{"type": "http.request", "body": question.body}], 500, bytearray()
    headers: dict[str, str] = {}

    async def receive() -> dict[str, Any]:
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            answer.extend(message.get("body", b""))

    scope = {
        "type": "http", "method": question.method, "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "client": (question.client, 0),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in question.headers.items()],
        PROVISIONING: question.network_id,
    }  # fmt: skip
    await app(scope, receive, send)
    headers.pop("content-length", None)
    return Reply(status, bytes(answer), headers)


def piece(
    file: Path, ranges: str, ended: Callable[[bool], None], sent: Callable[[int], None] = lambda count: None
) -> Reply:
    """A file, or the one range of it that was asked for (RFC 9110; several at once get it whole, as it allows)."""
    try:
        size = file.stat().st_size
    except OSError:
        raise NotFound(f"{file} is not there") from None
    headers = {"content-type": BYTES, "accept-ranges": "bytes"}
    start, end = bounds(ranges, size)
    if start >= end and size:
        return Reply(416, b"", {"content-range": f"bytes */{size}"})
    if (start, end) != (0, size):
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if "content-range" in headers else 200
    return Reply(status, b"", headers, Piece(file, start, end - start, sent), ended)


def bounds(ranges: str, size: int) -> tuple[int, int]:
    """The first byte and the one after the last of a Range header; all of it where it says nothing usable."""
    match = _RANGE.match(ranges.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        return max(0, size - int(match[2])), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
