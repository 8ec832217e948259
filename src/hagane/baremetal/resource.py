"""A bare-metal resource: what api/resource.py gives, in this API's conventions (see base.py)."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlencode

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.resource import REQUIRED, Attr, Resource
from hagane.api.service import Route
from hagane.api.types import BadValue, ListOf, Obj, Str, Type, is_uuid
from hagane.baremetal import patch
from hagane.baremetal.base import (
    at,
    boolean,
    forbidden,
    integer,
    is_name,
    links,
    list_scope,
    moment,
    need,
    query,
    require,
)
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

MOST = 1000
Sorts = list[tuple[str, bool]]  # (column, descending)
PAGING = ("limit", "marker", "sort_key", "sort_dir", "fields", "detail")
PATCH_BODY = ListOf(
    item=Obj(fields={"op": Str(), "path": Str(), "value": Type(nullable=True)}, required=("op", "path"))
)


class BareResource(Resource):
    """`noun` is the policy's word, `brief` the keys of a list without detail, `patchable` what PATCH may change.

    `filters` are the query's names beside the paging ones; `where` turns them into conditions.
    """

    update_method = "PATCH"
    noun: ClassVar[str] = ""
    title: ClassVar[str] = ""  # as errors call it
    brief: ClassVar[tuple[str, ...]] = ()
    patchable: ClassVar[tuple[str, ...]] = ()
    filters: ClassVar[tuple[str, ...]] = ()
    since: ClassVar[int] = 1
    before: ClassVar[str] = ""  # what an older version is told
    named: ClassVar[bool] = False  # found by name as well
    ident: ClassVar[str] = ""  # as errors call what a path names
    scoped: ClassVar[bool] = False  # lists are limited to a project's things by rules `list` and `list_all`

    # -- conventions -------------------------------------------------------------------------------------------

    def rule(self, verb: str) -> str:
        return f"baremetal:{self.noun}:{verb}"

    def target(self, row: Row) -> dict[str, Any]:
        return {}

    def wrap(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise Invalid(f"Schema error for {self.name}: {body!r} is not of type 'object'")
        return body

    def not_found(self, key: str) -> NotFound:
        return NotFound(f"{self.title} {key} could not be found.")

    def one_answer(self, request: Request, view: Any) -> Any:
        return view

    def _checked(self, request: Request, body: dict[str, Any], letter: str) -> Row:
        try:
            for label in body:
                attr = self.by_label.get(label)
                if attr is not None and letter in attr.write and not attr.exists_in(request.version):
                    require(request, int(attr.since.partition(".")[2]))
            return super()._checked(request, body, letter)
        except BadValue as error:
            raise self.schema_error(error, "patch" if letter == "u" else self.name) from None

    def schema_error(self, error: BadValue, what: str) -> Invalid:
        """The refusal of one value; sentences of their own are left to the service's wording."""
        if any(word in error.reason for word in ("'boolean'", "a boolean", "'uuid'", "MAC address")):
            return error
        attr = self.by_label.get(error.field)
        reason = error.reason
        if attr is not None and attr.type.nullable and reason.endswith(f"type '{attr.type.word}'"):
            reason += ", 'null'"
        return Invalid(f"Schema error for {what}: {reason}")

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        self.unknown({}, attr.label, value)

    def stamp(self, row: Row) -> None:
        super().stamp(row)
        row["updated_at"] = None
        for attr in self.attrs:
            if row.get(attr.name) is None:
                row[attr.name] = attr.default() if callable(attr.default) else None

    # -- answers -----------------------------------------------------------------------------------------------

    def chosen(self, request: Request, *, detail: bool = False) -> tuple[str, ...] | None:
        """The keys that `fields` or the lack of `detail` picks; None: all. Raises Invalid, NotAcceptable."""
        text = request.args.get("fields")
        if text is None:
            return None if detail or not self.brief else self.brief
        if detail:
            raise Invalid("Can not specify ?detail=True and fields in the same request.")
        require(request, 8)
        wanted = tuple(name.strip().lower() for name in text.split(","))
        known = {a.label: a for a in self.attrs if a.shown}
        if unknown := sorted(name for name in wanted if name not in known and name not in self.extras(request)):
            raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid.')
        if any(name in known and not known[name].exists_in(request.version) for name in wanted):
            require(request, 10_000)
        return wanted

    def extras(self, request: Request) -> frozenset[str]:
        """Keys that are computed and may be asked for by `fields`."""
        return frozenset({"links"})

    def views(self, request: Request, rows: Sequence[Row], chosen: tuple[str, ...] | None) -> list[dict[str, Any]]:
        """Rows as answers. `links` is always there; times are in this API's form."""
        pairs = self.fields(request)
        if chosen is not None:
            pairs = [pair for pair in pairs if pair[0] in chosen]
        times = {a.label for a in self.attrs if a.name.endswith("_at")}
        found = []
        for row in rows:
            view = {label: row[name] for label, name in pairs}
            for label in times & view.keys():
                view[label] = moment(view[label])
            view["links"] = links(request, f"{self.below}/{row['id']}")
            found.append(self.finish(request, row, view, chosen))
        return found

    def finish(
        self, request: Request, row: Row, view: dict[str, Any], chosen: tuple[str, ...] | None
    ) -> dict[str, Any]:
        """A hook: add what is computed, hide what this caller may not see."""
        return view

    @property
    def below(self) -> str:
        """The collection's path below /v1."""
        return self.path.partition("/v1/")[2]

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        """A single thing, whole or as `fields` says."""
        one = request.method == "GET"
        return list(
            self.views(request, rows, self.chosen(request, detail="fields" not in request.args) if one else None)
        )

    # -- finding and listing -----------------------------------------------------------------------------------

    async def load(self, reader: Reader, key: str) -> Row:
        """By UUID, or by name where such things have one. Raises NotFound, and Invalid for what can be neither."""
        if is_uuid(key):
            row = await self.table.get(reader, id=key)
        elif self.named and is_name(key):
            row = await self.table.get(reader, name=key)
        else:
            raise Invalid(f"Expected UUID{' or name' if self.named else ''} for {self.ident}: {key}")
        if row is None:
            raise self.not_found(key)
        return row

    async def asked_for(self, request: Request, reader: Reader, key: str) -> Row:
        """`load`; a name in the path may itself end in the `.json` that was taken off it."""
        if request.path.endswith(f"/{key}.json"):
            with suppress(NotFound):
                return await self.load(reader, f"{key}.json")
        return await self.load(reader, key)

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        row = await self.asked_for(request, reader, key)
        if not request.allowed(self.rule("get"), self.target(row)):
            raise self.not_found(key)
        return row

    def where(self, request: Request, args: dict[str, str]) -> tuple[dict[str, Any], Sequence[Sql]]:
        """Filters: by default each that is an attribute is a column; `node` and `project` are conditions of their own
        (belonging.py, listed). Raises Invalid."""
        named = [name for name in self.filters if name in args and name in self.by_label]
        return {self.by_label[name].name: args[name] for name in named}, []

    def mine(self, project: str) -> Sql:
        """The condition that limits a list to a project's things."""
        raise NotImplementedError

    async def list(self, request: Request) -> Response:
        detail = boolean("detail", request.args.get("detail")) if at(request, 43) else None
        return await self.listed(request, {}, self.chosen(request, detail=bool(detail)))

    async def detail(self, request: Request) -> Response:
        return await self.listed(request, {}, None)

    async def listed(self, request: Request, fixed: Row, chosen: tuple[str, ...] | None) -> Response:
        """One page. `fixed`: conditions of a path."""
        args = query(request, (*self.filters, *PAGING))
        where, conditions = self.where(request, args)
        seen: list[Sql] = []
        if self.scoped:
            project = list_scope(request, self.noun, args.get("project"))
            seen = [self.mine(project)] if project else []
        else:
            need(request, self.rule("get"))
        page = self.page(request)
        if page.marker is not None and not await self.table.select(self.db, {"id": page.marker}, conditions=seen):
            raise self.not_found(page.marker)
        rows = await page.rows(self.db, self.table, where | fixed, conditions, seen)
        answer: dict[str, Any] = {self.plural: self.views(request, rows, chosen)}
        if page.more:
            answer["next"] = self.next_url(request, page, chosen)
        return json_response(200, answer)

    def page(self, request: Request) -> Page:
        """Raises Invalid."""
        limit = integer("limit", request.args.get("limit"))
        if limit is not None and limit <= 0:
            raise Invalid("Limit must be positive")
        marker = request.args.get("marker")
        if marker is not None and not is_uuid(marker):
            raise Invalid(f"Expected UUID for marker: {marker}")
        way = request.args.get("sort_dir", "asc")
        if way not in ("asc", "desc"):
            raise Invalid(f"Invalid sort direction: {way}. Acceptable values are 'asc' or 'desc'")
        return Page(min(limit or MOST, MOST), marker, self.sorts(request, way == "desc"))

    def sorts(self, request: Request, down: bool) -> Sorts:
        """The order; `id` and nothing mean the order of creation. Raises Invalid, NotAcceptable."""
        key = request.args.get("sort_key", "id")
        if key == "id":
            return [("created_at", down), ("id", down)]
        attr = self.by_label.get(key)
        if attr is None or not attr.stored or not attr.shown or attr.type.column == "json":
            shown = key if attr is not None else f'"{key}"'
            raise Invalid(f"The sort_key value {shown} is an invalid field for sorting")
        if not attr.exists_in(request.version):
            require(request, 10_000)
        return [(attr.name, down)] if attr.name == "id" else [(attr.name, down), ("id", down)]

    def next_url(self, request: Request, page: Page, chosen: tuple[str, ...] | None) -> str:
        kept = {name: value for name, value in request.query if name not in ("limit", "marker", "fields")}
        if chosen is not None:
            kept["fields"] = ",".join(chosen)
        kept |= {"limit": str(page.limit), "marker": page.last}
        return f"{request.base_url}{request.path}?{urlencode(kept, safe=',')}"

    # -- changing ----------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        body = self.wrap(await request.json())

        async def work(tx: Tx) -> Any:
            row = await self.create_row(request, tx, body)
            return (await self.present(request, [row], tx))[0]

        view = await self.db.write(work)
        return json_response(201, view, {"location": f"{request.url}/v1/{self.below}/{view['uuid']}"})

    def document(self, row: Row) -> dict[str, Any]:
        """The row as a patch sees it."""
        return {a.label: row[a.name] for a in self.attrs if a.label in self.patchable and a.stored}

    async def update(self, request: Request) -> Response:
        operations = patch.check(await request.json(), self.patchable, special=at(request, 98))
        for entry in operations:
            self._may_patch(request, patch.root(entry))

        async def work(tx: Tx) -> Any:
            old = await self.find(request, tx, request.params["id"])
            row = await self.patch_row(request, tx, old, operations)
            return (await self.present(request, [row], tx))[0]

        return json_response(200, await self.db.write(work))

    def _may_patch(self, request: Request, label: str) -> None:
        attr = self.by_label.get(label)
        if attr is not None and not attr.exists_in(request.version):
            require(request, int(attr.since.partition(".")[2]))

    async def patch_row(self, request: Request, tx: Tx, old: Row, operations: Sequence[patch.Operation]) -> Row:
        """Check and store what a patch changes; returns the row as it is afterwards."""
        self.enforce(request, "update", old)
        before = self.document(old)
        changes = self.patch_changes(request, before, patch.apply(before, operations))
        await self.updating(request, tx, old, changes)
        return await self.store(tx, old, changes)

    def patch_changes(self, request: Request, before: dict[str, Any], after: dict[str, Any]) -> Row:
        """What differs, checked; what was removed gets its default. Raises Invalid."""
        changed: dict[str, Any] = {}
        for label in before:
            attr = self.by_label[label]
            if label not in after:
                if attr.default is REQUIRED:
                    raise Invalid(f"Schema error for patch: '{label}' is a required property")
                after[label] = attr.default() if callable(attr.default) else attr.default
                if after[label] is None and not attr.type.nullable:
                    raise Invalid(f"Schema error for patch: '{label}' is a required property")
            if after[label] != before[label]:
                changed[label] = after[label]
        return self._patched(changed)

    def _patched(self, changed: dict[str, Any]) -> Row:
        row: Row = {}
        for label, value in changed.items():
            attr = self.by_label[label]
            if value is None and callable(attr.default):
                value = attr.default()
            try:
                row[attr.name] = attr.type.check(label, value)
            except BadValue as error:
                raise self.schema_error(error, "patch") from None
        return row

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        """Write changes of intent."""
        changes["updated_at"] = clock.now()
        if "generation" in self.by_name:
            changes["generation"] = old["generation"] + 1
        await self.table.update(tx, {"id": old["id"]}, changes)
        return old | changes

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"])
            self.enforce(request, "delete", row)
            await self.delete_row(request, tx, row)

        await self.db.write(work)
        return empty(204)

    async def unique(self, tx: Tx, name: str, value: Any, text: str, *, but: str = "") -> None:
        """Raises Conflict when another row has this value."""
        if value is None:
            return
        found = await self.table.get(tx, **{name: value})
        if found is not None and found["id"] != but:
            raise Conflict(text)

    def forbidden(self, rule: str) -> Forbidden:
        return forbidden(rule)

    # -- routes ------------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        since = f"1.{self.since}"
        return [
            Route(r.method, r.path, r.handler, r.name, rule=r.rule, status=r.status, since=since, query=r.query,
                  body=PATCH_BODY if r.method == "PATCH" else r.body, answer=r.answer, before=self.before)
            for r in super().routes()
        ]  # fmt: skip

    def query_names(self) -> tuple[str, ...]:
        return (*self.filters, *PAGING)

    def body_type(self, letter: str) -> Type:
        fields = {a.label: a.type for a in self.attrs if letter in a.write}
        required = [a.label for a in self.attrs if letter in a.write and a.default is REQUIRED]
        return Obj(fields=fields, required=required)

    def answer_type(self) -> Type:
        return Obj(fields={a.label: a.type for a in self.attrs if a.shown}, open=True)
