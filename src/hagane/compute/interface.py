"""NICs of a Server that is there: /servers/{id}/os-interface.

Attaching and detaching change the row's list of NICs; the reconciler plugs and unplugs. A detached port is unbound, and
deleted if it was made for the Server, when the machine has let go of it.
"""

from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Ip, ListOf, Obj
from hagane.cloud import Cloud
from hagane.compute import nic
from hagane.compute.action import intend, refuse_state
from hagane.compute.base import V21, api, at, need
from hagane.compute.kinds import TAG, UUID
from hagane.compute.row import VmState
from hagane.compute.server import find, refuse_locked
from hagane.compute.steel import add_nic, is_node
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row, Tx

PATH = V21 + "/servers/{id}/os-interface"
FIXED = ListOf(item=Obj(fields={"ip_address": Ip()}, required=("ip_address",)), min=1, max=1)
FIT = (VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED)


def _body(request: Request) -> Obj:
    fields: dict[str, Any] = {"net_id": UUID, "port_id": UUID, "fixed_ips": FIXED}
    if at(request, 49):
        fields["tag"] = TAG
    return Obj(fields={"interfaceAttachment": Obj(fields=fields)}, required=("interfaceAttachment",))


class Interfaces:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def index(self, request: Request) -> Response:
        row, ports = await self._ports(request, "list")
        return json_response(200, {"interfaceAttachments": [_view(request, row, port) for port in ports]})

    async def show(self, request: Request) -> Response:
        row, ports = await self._ports(request, "show")
        return json_response(200, {"interfaceAttachment": _view(request, row, _pick(request, row, ports))})

    async def _ports(self, request: Request, verb: str) -> tuple[Row, list[Row]]:
        row = await find(self.db, request)
        need(request, api(f"os-attach-interfaces:{verb}"), row)
        return row, await _attached(self.db, row)

    async def create(self, request: Request) -> Response:
        raw = await request.json()
        body = _body(request).check("", raw)["interfaceAttachment"] if raw else {}
        if body.get("net_id") and body.get("port_id"):
            raise Invalid("Must not input both network_id and port_id")
        if body.get("fixed_ips") and not body.get("net_id"):
            raise Invalid("Must input network_id when request IP address")
        row, port = await self.db.write(lambda tx: self._attach(request, tx, body))
        return json_response(200, {"interfaceAttachment": _view(request, row, port)})

    async def _attach(self, request: Request, tx: Tx, body: dict[str, Any]) -> tuple[Row, Row]:
        row = await find(tx, request)
        need(request, api("os-attach-interfaces:create"), row)
        refuse_locked(request, row)
        refuse_state(row, "attach_interface", FIT)
        wish = await _wish(request, tx, body)
        if is_node(row):
            made = await add_nic(request, tx, row, wish)
        else:
            made = await nic.add(request, tx, row, wish, host=row["host"] or "")
        row = await intend(request, tx, row, "attach_interface", {"nics": [*row["nics"], made | {"new": True}]})
        ports = await _attached(tx, row)
        return row, next(port for port in ports if port["id"] == made["port_id"])

    async def delete(self, request: Request) -> Response:
        async def write(tx: Tx) -> None:
            row = await find(tx, request)
            need(request, api("os-attach-interfaces:delete"), row)
            refuse_locked(request, row)
            refuse_state(row, "detach_interface", FIT)
            port = _pick(request, row, await _attached(tx, row))
            left = [dict(one, gone=True) if one["port_id"] == port["id"] else one for one in row["nics"]]
            await intend(request, tx, row, "detach_interface", {"nics": left})

        await self.db.write(write)
        return empty(202)

    def routes(self) -> list[Route]:
        rule = "os-attach-interfaces"
        return [
            Route("GET", PATH, self.index, "interface:list", rule=api(f"{rule}:list")),
            Route("POST", PATH, self.create, "interface:create", rule=api(f"{rule}:create")),
            Route("GET", PATH + "/{port}", self.show, "interface:show", rule=api(f"{rule}:show")),
            Route("DELETE", PATH + "/{port}", self.delete, "interface:delete", rule=api(f"{rule}:delete"), status=202),
        ]


async def _wish(request: Request, tx: Tx, body: dict[str, Any]) -> nic.Wish:
    """What to attach. The real service says 404 here for what it calls a bad request in an order."""
    tag = body.get("tag")
    try:
        if body.get("port_id"):
            return await nic.port_wish(request, tx, body["port_id"], tag)
        if body.get("net_id"):
            fixed = body["fixed_ips"][0]["ip_address"] if body.get("fixed_ips") else None
            return await nic.network_wish(request, tx, body["net_id"], fixed, tag, None)
    except Invalid as error:
        if error.code in ("PortNotFound", "NetworkNotFound"):
            raise NotFound(error.message, code=error.code) from error
        raise
    wishes = await nic.plan(request, tx, None, None, 1)
    if not wishes:
        raise Invalid("No network is available to attach an interface to.")
    return wishes[0]


async def _attached(reader: Any, row: Row) -> list[Row]:
    """The ports that are, or are about to be, the Server's."""
    leaving = {one["port_id"] for one in row["nics"] if one.get("gone")}
    ports = (await nic.ports_of(reader, [row])).get(row["id"], [])
    return [port for port in ports if port["id"] not in leaving]


def _pick(request: Request, row: Row, ports: list[Row]) -> Row:
    port_id = request.params["port"]
    for port in ports:
        if port["id"] == port_id:
            return port
    raise NotFound(f"Instance {row['id']} does not have a port with id {port_id}")


def _view(request: Request, row: Row, port: Row) -> dict[str, Any]:
    view = {
        "net_id": port["network_id"], "port_id": port["id"], "mac_addr": port["mac_address"],
        "port_state": port["status"], "fixed_ips": port["fixed_ips"],
    }  # fmt: skip
    if at(request, 70):
        view["tag"] = next((one["tag"] for one in row["nics"] if one["port_id"] == port["id"]), None)
    return view
