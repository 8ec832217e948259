"""Virtual media of a Node: an image in a drive that the BMC pretends to have.

POST and DELETE are intent (`wanted`), which the reconciler of Nodes hands to the BMC; GET answers from what was seen.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import ListOf, Obj, Str
from hagane.baremetal.base import V1, arguments, require
from hagane.baremetal.node import Nodes
from hagane.baremetal.node_rule import locked, reservation
from hagane.baremetal.node_verb import NodeVerbs, unsupported
from hagane.errors import Invalid
from hagane.state.database import Row, Tx

SLOTS = {"cdrom": "cd", "disk": "usb", "floppy": "usb"}
"""`device_type` -> the drive (drivers/bmc/base.py: Slot)."""
ATTACH = Obj(fields={"device_type": Str(), "image_url": Str(), "image_download_source": Str(nullable=True)},
             required=("device_type", "image_url"))  # fmt: skip
DETACH = Obj(fields={"device_types": ListOf(item=Str(), nullable=True)})


class NodeMedia:
    def __init__(self, nodes: Nodes, verbs: NodeVerbs) -> None:
        self.nodes, self.verbs, self.db = nodes, verbs, nodes.db

    async def attach(self, request: Request) -> Response:
        require(request, 89)
        await self.nodes.need(request, self.db, "vmedia:attach")
        given = arguments(await request.json(), ("device_type", "image_url", "image_download_source"),
                          ("device_type", "image_url"))  # fmt: skip
        slot, url = _slot(given["device_type"]), str(given["image_url"])
        if not _readable(url):
            raise Invalid(f"Schema error for body: {url!r} is no http or https URL that the BMC could read")
        if given.get("image_download_source") not in (None, "http"):
            raise Invalid("The image is read by the BMC itself: image_download_source can only be http.")
        await self._want(request, "attach", {slot: url})
        return empty(204)

    async def detach(self, request: Request) -> Response:
        require(request, 89)
        await self.nodes.need(request, self.db, "vmedia:detach")
        given = arguments(await request.json() or {}, ("device_types",))
        kinds = given.get("device_types") or [kind for kind in request.args.get("device_types", "").split(",") if kind]
        if not isinstance(kinds, list):
            raise Invalid(f"Schema error for body: {kinds!r} is not of type 'array'")
        await self._want(request, "detach", {_slot(kind): None for kind in kinds or SLOTS})
        return empty(204)

    async def _want(self, request: Request, rule: str, media: dict[str, Any]) -> None:
        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, f"vmedia:{rule}")
            _check(row)
            if rule == "detach":
                there = (row["seen"].get("media") or {}) | (row["wanted"].get("media") or {})
                media_ = {slot: None for slot in media if there.get(slot)}
            else:
                media_ = media
            if media_:
                await self.verbs.want(request, tx, row, {}, media=(row["wanted"].get("media") or {}) | media_)

        await self.db.write(change)

    async def listed(self, request: Request) -> Response:
        require(request, 93)
        row = await self.nodes.need(request, self.db, "vmedia:get")
        _supported(row)
        there = row["seen"].get("media") or {}
        names = {"cd": "CD", "usb": "USBStick"}
        shown = [{"media_types": [names[slot]], "inserted": True, "image": url} for slot, url in sorted(there.items())]
        return json_response(200, shown)

    def routes(self) -> Sequence[Route]:
        path, rule = V1 + "/nodes/{id}/vmedia", "baremetal:node:vmedia:"
        return [
            Route("POST", path, self.attach, "node:vmedia:post", rule=rule + "attach", status=204, since="1.89",
                  body=ATTACH),
            Route("DELETE", path, self.detach, "node:vmedia:delete", rule=rule + "detach", status=204, since="1.89",
                  body=DETACH, query=("device_types",)),
            Route("GET", path, self.listed, "node:vmedia:get", rule=rule + "get", since="1.93"),
        ]  # fmt: skip


def _slot(kind: Any) -> str:
    if not isinstance(kind, str) or kind not in SLOTS:
        raise Invalid(f"Schema error for body: {kind!r} is not one of {list(SLOTS)}")
    return SLOTS[kind]


def _readable(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def _supported(row: Row) -> None:
    if row["driver"] == "ipmi":
        raise unsupported(row, "virtual media")


def _check(row: Row) -> None:
    _supported(row)
    if reservation(row):
        raise locked(row)
