"""/qos-specs: how fast a volume may be, for types that share it. `consumer` says who holds to it: the machine's Host
(front-end), from the next time that a volume is attached to a machine there; the backend (back-end), of which none of
ours can; or both."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.service import Route
from hagane.api.types import BadValue, Custom, ListOf, Obj, Str
from hagane.cloud import Cloud
from hagane.errors import Conflict, HaganeError, Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Duplicate, Reader, Row, Tx
from hagane.state.table import Sql
from hagane.volume import qos_limits, query
from hagane.volume.base import body_of, both, links, need, next_links
from hagane.volume.kinds import yes
from hagane.volume.type import SPECS
from hagane.volume.type_row import QOS, TYPE

_RULE = "volume_extension:qos_specs_manage:"
CONSUMERS = ("front-end", "back-end", "both")
_SAME = {name: name for name in ("id", "name", "consumer", "created_at")}


def _new(field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    if "name" not in value:
        raise BadValue(field, value, "'name' is a required property")
    name = str(Str(None).check(f"{field}.name", value["name"])).strip()
    if not name or len(name) > 255:
        problem = "can not be greater than 255 characters" if name else "can not be empty"
        raise Invalid(f"An invalid 'name' value was provided. The 'name' {problem}.", code="InvalidName")
    rest = {key: Str(255).check(f"{field}.{key}", text) for key, text in value.items() if key != "name"}
    return {"name": name, "specs": rest}


_CREATE = Obj(fields={"qos_specs": Custom(rule=_new, json_schema={"type": "object"})}, required=("qos_specs",))
_CHANGE = Obj(fields={"qos_specs": SPECS}, required=("qos_specs",))
_KEYS = Obj(fields={"keys": ListOf(item=Str(255, min=1), unique=True)}, required=("keys",))


def view(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "consumer": row["consumer"], "specs": row["specs"] or {}}


class QosSpecs:
    """/qos-specs."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    async def _find(self, reader: Reader, key: str) -> Row:
        row = await QOS.get(reader, id=key)
        if row is None:
            raise NotFound(f"No such QoS spec {key}.", code="QoSSpecsNotFound")
        return row

    async def index(self, request: Request) -> Response:
        need(request, _RULE + "get_all")
        limit, offset = query.limit_of(request), query.offset_of(request)
        page = Page(limit + offset, request.args.get("marker"), query.sorts_of(request, _SAME))
        asked = [Sql(f"{name} = :asked_{name}", {f"asked_{name}": request.args[name]})
                 for name in ("id", "name", "consumer") if name in request.args]  # fmt: skip
        rows = (await page.rows(self.db, QOS, {}, asked))[offset:] if limit else []
        answer: dict[str, Any] = {"qos_specs": [view(row) for row in rows]}
        if more := next_links(request, "qos-specs", rows[-1]["id"] if rows else None, len(rows), limit):
            answer["qos_specs_links"] = more
        return json_response(200, answer)

    def _one(self, request: Request, row: Row) -> Response:
        return json_response(200, {"qos_specs": view(row), "links": links(request, "qos-specs", row["id"])})

    async def show(self, request: Request) -> Response:
        need(request, _RULE + "get")
        return self._one(request, await self._find(self.db, request.params["id"]))

    async def create(self, request: Request) -> Response:
        body = (await body_of(request, _CREATE))["qos_specs"]
        need(request, _RULE + "create")
        consumer = _consumer(body["specs"].pop("consumer", "back-end"))
        qos_limits.check(consumer, body["specs"])
        row: Row = {"id": str(uuid4()), "name": body["name"], "consumer": consumer, "specs": body["specs"]}

        async def work(tx: Tx) -> None:
            try:
                await QOS.insert(tx, row | {"created_at": clock.now()})
            except Duplicate as error:
                raise Conflict(f"QoS Specs {row['name']} already exists.", code="QoSSpecsExists") from error

        await self.db.write(work)
        return self._one(request, row)

    async def update(self, request: Request) -> Response:
        body = await body_of(request, _CHANGE)
        need(request, _RULE + "update")
        specs = dict(body["qos_specs"])
        consumer = specs.pop("consumer", None)

        async def work(tx: Tx) -> None:
            row = await self._find(tx, request.params["id"])
            changes: Row = {"specs": (row["specs"] or {}) | specs, "consumer": row["consumer"]}
            changes |= {"consumer": _consumer(consumer)} if consumer is not None else {}
            qos_limits.check(changes["consumer"], changes["specs"])
            await QOS.update(tx, {"id": row["id"]}, changes)

        await self.db.write(work)
        return json_response(200, body)

    async def delete(self, request: Request) -> Response:
        need(request, _RULE + "delete")
        force = yes(request.args.get("force"), "force")

        async def work(tx: Tx) -> None:
            row = await self._find(tx, request.params["id"])
            if not force and await TYPE.get(tx, qos_specs_id=row["id"]) is not None:
                raise Invalid("Qos specs still in use.", code="QoSSpecsInUse")
            await TYPE.update(tx, {"qos_specs_id": row["id"]}, {"qos_specs_id": None})
            await QOS.delete(tx, {"id": row["id"]})

        await self.db.write(work)
        return empty(202)

    async def delete_keys(self, request: Request) -> Response:
        keys = (await body_of(request, _KEYS))["keys"]
        need(request, _RULE + "delete")

        async def work(tx: Tx) -> None:
            row = await self._find(tx, request.params["id"])
            specs = dict(row["specs"] or {})
            for key in keys:
                if key not in specs:
                    raise NotFound(f"QoS spec {row['id']} has no spec with key {key}.", code="QoSSpecsKeyNotFound")
                del specs[key]
            await QOS.update(tx, {"id": row["id"]}, {"specs": specs})

        await self.db.write(work)
        return empty(202)

    # -- types -------------------------------------------------------------------------------------------------------

    async def associations(self, request: Request) -> Response:
        need(request, _RULE + "get_all")
        row = await self._find(self.db, request.params["id"])
        types = await TYPE.select(self.db, {"qos_specs_id": row["id"]}, order="name")
        views = [{"association_type": "volume_type", "name": kind["name"], "id": kind["id"]} for kind in types]
        return json_response(200, {"qos_associations": views})

    async def associate(self, request: Request) -> Response:
        return await self._bind(request, bind=True)

    async def disassociate(self, request: Request) -> Response:
        return await self._bind(request, bind=False)

    async def _bind(self, request: Request, *, bind: bool) -> Response:
        need(request, _RULE + "update")
        type_id = request.args.get("vol_type_id")
        if not type_id:
            raise Invalid("Volume Type id must not be None.", code="NoType")

        async def work(tx: Tx) -> None:
            row = await self._find(tx, request.params["id"])
            kind = await TYPE.get(tx, id=type_id)
            if kind is None:
                raise NotFound(f"Volume type {type_id} could not be found.", code="VolumeTypeNotFound")
            if bind and kind["qos_specs_id"] not in (None, row["id"]):
                raise Invalid(f"Invalid volume type: Type {type_id} is already associated with another qos specs:"
                              f" {kind['qos_specs_id']}", code="InvalidVolumeType")  # fmt: skip
            if not bind and kind["qos_specs_id"] != row["id"]:
                raise HaganeError(f"Failed to disassociate qos_specs: {row['id']} with type {type_id}.",
                                  code="QoSSpecsDisassociateFailed")  # fmt: skip
            await TYPE.update(tx, {"id": type_id}, {"qos_specs_id": row["id"] if bind else None})

        await self.db.write(work)
        return empty(202)

    async def disassociate_all(self, request: Request) -> Response:
        need(request, _RULE + "update")

        async def work(tx: Tx) -> None:
            row = await self._find(tx, request.params["id"])
            await TYPE.update(tx, {"qos_specs_id": row["id"]}, {"qos_specs_id": None})

        await self.db.write(work)
        return empty(202)

    def routes(self) -> Sequence[Route]:
        many, one, update = "/qos-specs", "/qos-specs/{id}", {"rule": _RULE + "update", "status": 202}
        return [
            *both("GET", many, self.index, "qos_spec:list", rule=_RULE + "get_all"),
            *both("POST", many, self.create, "qos_spec:create", rule=_RULE + "create", body=_CREATE),
            *both("GET", one, self.show, "qos_spec:show", rule=_RULE + "get"),
            *both("PUT", one, self.update, "qos_spec:update", rule=_RULE + "update", body=_CHANGE),
            *both("DELETE", one, self.delete, "qos_spec:delete", rule=_RULE + "delete", status=202),
            *both("PUT", one + "/delete_keys", self.delete_keys, "qos_spec:delete_keys", rule=_RULE + "delete",
                  status=202, body=_KEYS),
            *both("GET", one + "/associations", self.associations, "qos_spec:associations", rule=_RULE + "get_all"),
            *both("GET", one + "/associate", self.associate, "qos_spec:associate", **update),
            *both("GET", one + "/disassociate", self.disassociate, "qos_spec:disassociate", **update),
            *both("GET", one + "/disassociate_all", self.disassociate_all, "qos_spec:disassociate_all", **update),
        ]  # fmt: skip


def _consumer(word: str) -> str:
    if word not in CONSUMERS:
        text = "Invalid qos specs: Valid consumer of QoS specs are: ['both', 'back-end', 'front-end']"
        raise Invalid(text, code="InvalidQoSSpecs")
    return word
