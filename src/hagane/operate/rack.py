"""Racks under /hagane/v1/racks: GET them, PUT one as a whole, DELETE one. For administrators."""

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.baremetal import rack_document
from hagane.baremetal.rack import RACK
from hagane.drivers.switch import FAMILIES
from hagane.errors import Forbidden, NotFound
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets


def routes(prefix: str) -> list[Route]:
    path = f"{prefix}/racks"
    return [
        Route("GET", path, _list, "rack:list"),
        Route("GET", f"{path}/{{name}}", _show, "rack:show"),
        Route("PUT", f"{path}/{{name}}", _put, "rack:put"),
        Route("DELETE", f"{path}/{{name}}", _delete, "rack:delete", status=204),
    ]


def need_admin(request: Request) -> None:
    if not request.caller.is_admin:
        raise Forbidden("This is for administrators.")


async def _find(reader: Reader, key: str) -> Row:
    row = await RACK.get(reader, name=key) or await RACK.get(reader, id=key)
    if row is None:
        raise NotFound(f"There is no rack '{key}'.")
    return row


async def _list(request: Request) -> Response:
    need_admin(request)
    db = request.cloud.db
    return json_response(200, {"racks": await rack_document.views(db, await RACK.select(db, order="name"))})


async def _show(request: Request) -> Response:
    need_admin(request)
    row = await _find(request.cloud.db, request.params["name"])
    return json_response(200, {"rack": (await rack_document.views(request.cloud.db, [row]))[0]})


async def _put(request: Request) -> Response:
    """Make or change a rack. The answer tells what was done, one line for each part that was not as it should be."""
    need_admin(request)
    wanted = rack_document.parse(request.params["name"], await request.json(), FAMILIES)
    secrets = request.cloud.use(Secrets)

    async def work(tx: Tx) -> tuple[list[str], dict[str, object]]:
        done = await rack_document.put(tx, secrets, wanted, request_id=request.id)
        return done, (await rack_document.views(tx, [await _find(tx, wanted.name)]))[0]

    done, view = await request.cloud.db.write(work)
    return json_response(200, {"rack": view, "done": done})


async def _delete(request: Request) -> Response:
    need_admin(request)

    async def work(tx: Tx) -> None:
        await rack_document.remove(tx, await _find(tx, request.params["name"]))

    await request.cloud.db.write(work)
    return empty(204)
