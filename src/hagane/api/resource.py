"""A resource is declared once; table, validation, answers, filters and default handlers follow from its attributes.

    class Flavor(Resource):
        name, plural = "flavor", "flavors"
        attrs = (Attr("id", Str(), write="c", key=True), Attr("ram", Int(min=1), write="c", wire="ram"), ...)

        async def creating(self, request, tx, row): ...      # refuse, fill in, allocate, wake

Each request is one transaction, and the hooks (`creating`, `updating`, `deleting`) run inside it, so a refusal leaves
nothing behind. `present` turns rows into answers, many at a time, so that whatever it looks up is one query for the
whole page. Services differ in their conventions (wrapping, verbs, links, policy names): each has one subclass that
says them, and its resources derive from that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.listing import Page, filters
from hagane.api.service import Route, Version, parse
from hagane.api.types import BadValue, Obj, Type
from hagane.cloud import Cloud
from hagane.errors import Forbidden, Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Sql, Table

REQUIRED: Any = object()


@dataclass(frozen=True, eq=False)
class Attr:
    """One attribute of a resource.

    `write`: "c" may be set on creation, "u" changed later, "cu" both, "" neither. `default` is used on creation; a
    callable is called; REQUIRED refuses its absence. `wire` is its name in the API where that is not the column's.
    `stored=False`: computed by `present`, has no column. `shown=False`: never answered (secrets, internals).
    `rule`: setting it is a policy rule of its own (`create_port:mac_address`); `read_rule`: so is seeing it.
    `since`/`until`: microversions in which it exists.
    """

    name: str
    type: Type
    write: str = ""
    default: Any = None
    wire: str = ""
    since: str = ""
    until: str = ""
    key: bool = False
    stored: bool = True
    shown: bool = True
    filter: bool = True
    sort: bool = True
    rule: bool = False
    read_rule: bool = False

    @property
    def label(self) -> str:
        return self.wire or self.name

    def exists_in(self, version: Version) -> bool:
        if self.since and version < parse(self.since):
            return False
        return not (self.until and version > parse(self.until))


class Resource:
    """Base of all resources. Subclasses set the class attributes and override what differs."""

    name: ClassVar[str] = ""
    plural: ClassVar[str] = ""
    path: ClassVar[str] = ""  # of the collection, whole: "/network/v2.0/ports"
    attrs: ClassVar[tuple[Attr, ...]] = ()
    indexes: ClassVar[tuple[str, ...]] = ()
    table_name: ClassVar[str] = ""
    table: ClassVar[Table]
    update_method: ClassVar[str] = "PUT"
    verbs: ClassVar[frozenset[str]] = frozenset({"list", "show", "create", "update", "delete"})
    by_name: ClassVar[dict[str, Attr]]
    by_label: ClassVar[dict[str, Attr]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.attrs:
            return
        columns = tuple(Column(a.name, a.type.column, a.key) for a in cls.attrs if a.stored)
        cls.table = Table(cls.table_name or cls.name, columns, cls.indexes)
        cls.by_name = {a.name: a for a in cls.attrs}
        cls.by_label = {a.label: a for a in cls.attrs}

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.db = cloud.db

    # -- what a service's conventions decide -------------------------------------------------------------------

    def rule(self, verb: str) -> str:
        """The policy rule of a verb."""
        return f"{verb}_{self.name}"

    def target(self, row: Row) -> dict[str, Any]:
        """The row as policy rules know it."""
        return row

    def visible(self, request: Request) -> list[Sql]:
        """Conditions on what a caller may see in lists; the rows are filtered in the store, not after it."""
        return []

    def wrap(self, body: Any) -> dict[str, Any]:
        """Take the object out of its envelope. Raises Invalid."""
        if not isinstance(body, dict) or not isinstance(body.get(self.name), dict):
            raise Invalid(f"The body must hold an object named '{self.name}'.", code="MalformedBody")
        inner: dict[str, Any] = body[self.name]
        return inner

    def not_found(self, key: str) -> NotFound:
        return NotFound(f"{self.name.capitalize()} {key} could not be found.", code=f"{self.name.title()}NotFound")

    def list_answer(self, request: Request, views: list[Any], page: Page) -> Any:
        return {self.plural: views}

    def one_answer(self, request: Request, view: Any) -> Any:
        return {self.name: view}

    # -- hooks, each inside the request's transaction ----------------------------------------------------------

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        """Before the row is stored: refuse it, complete it, take allocations, wake reconcilers."""

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        """Before changes are stored; may add to `changes`."""

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        """Before the row is deleted."""

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        """Rows as answers. An override computes what is not stored, for all rows at once, then calls this."""
        fields = self.fields(request)
        return [{label: row.get(name) for label, name in fields} for row in rows]

    # -- from attributes to values -----------------------------------------------------------------------------

    def fields(self, request: Request) -> Sequence[tuple[str, str]]:
        """(wire name, row name) of the attributes that this caller sees in this version."""
        hidden = frozenset(
            a.name for a in self.attrs if a.read_rule and not request.allowed(f"{self.rule('get')}:{a.label}", {})
        )
        return _fields(self.attrs, request.version, hidden)

    def parse_create(self, request: Request, body: dict[str, Any]) -> Row:
        """A body as a new row, with defaults and an id. Raises BadValue, Invalid, Forbidden."""
        row = self._checked(request, body, "c")
        for attr in self.attrs:
            if "c" in attr.write and attr.name not in row:
                if attr.default is REQUIRED:
                    raise BadValue(self.name, body, f"'{attr.label}' is a required property")
                row[attr.name] = attr.default() if callable(attr.default) else attr.default
        self.stamp(row)
        return row

    def stamp(self, row: Row) -> None:
        """Give a new row its id, times and generation, where the resource has such attributes."""
        if "id" in self.by_name and row.get("id") is None:
            row["id"] = str(uuid4())
        moment = clock.now()
        for name, value in (("created_at", moment), ("updated_at", moment), ("generation", 1)):
            if name in self.by_name and row.get(name) is None:
                row[name] = value

    def parse_update(self, request: Request, body: dict[str, Any]) -> Row:
        """A body as changes of a row. Raises BadValue, Invalid, Forbidden."""
        return self._checked(request, body, "u")

    def _checked(self, request: Request, body: dict[str, Any], letter: str) -> Row:
        row: Row = {}
        for label, value in body.items():
            attr = self.by_label.get(label)
            if attr is None or not attr.exists_in(request.version):
                self.unknown(row, label, value)
                continue
            if letter not in attr.write:
                self.read_only(attr, letter, value)
                continue
            row[attr.name] = attr.type.check(label, value)
        return row

    def unknown(self, row: Row, label: str, value: Any) -> None:
        """What to do with an attribute that is not declared: refuse it."""
        raise BadValue(self.name, value, f"Additional properties are not allowed ({label!r} was unexpected)")

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        """What to do with an attribute that may not be written now: refuse it."""
        raise BadValue(attr.label, value, "the attribute is read-only")

    def enforce(self, request: Request, verb: str, row: Row, given: Sequence[str] = ()) -> None:
        """Ask the policy for the verb and for each given attribute that has a rule of its own. Raises Forbidden."""
        target = self.target(row)
        rule = self.rule(verb)
        rules = [rule] + [f"{rule}:{self.by_name[name].label}" for name in given if self.by_name[name].rule]
        for name in rules:
            if not request.allowed(name, target):
                raise self.forbidden(name)

    def forbidden(self, rule: str) -> Forbidden:
        return Forbidden(f"Policy doesn't allow {rule} to be performed.", code="PolicyNotAuthorized", rule=rule)

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        """The row that a path names, if the caller may know of it. Raises NotFound."""
        row = await self.table.get(reader, **{self.table.keys[0]: key})
        if row is None or not request.allowed(self.rule("get"), self.target(row)):
            raise self.not_found(key)
        return row

    # -- default handlers --------------------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        page = Page.of(request, self)
        where, conditions = filters(request, self)
        rows = await page.rows(self.db, self.table, where, conditions, self.visible(request))
        return json_response(200, self.list_answer(request, await self.present(request, rows), page))

    async def show(self, request: Request) -> Response:
        row = await self.find(request, self.db, request.params["id"])
        return json_response(200, self.one_answer(request, (await self.present(request, [row]))[0]))

    async def create(self, request: Request) -> Response:
        body = self.wrap(await request.json())

        async def work(tx: Tx) -> Any:
            row = await self.create_row(request, tx, body)
            return (await self.present(request, [row], tx))[0]

        return json_response(201, self.one_answer(request, await self.db.write(work)))

    async def create_row(self, request: Request, tx: Tx, body: dict[str, Any]) -> Row:
        """Check, complete and store one new row."""
        row = self.parse_create(request, body)
        given = [self.by_label[label].name for label in body if label in self.by_label]
        self.enforce(request, "create", row, given)
        await self.creating(request, tx, row)
        await self.table.insert(tx, row)
        return row

    async def update(self, request: Request) -> Response:
        body = self.wrap(await request.json())

        async def work(tx: Tx) -> Any:
            row = await self.update_row(request, tx, request.params["id"], body)
            return (await self.present(request, [row], tx))[0]

        return json_response(200, self.one_answer(request, await self.db.write(work)))

    async def update_row(self, request: Request, tx: Tx, key: str, body: dict[str, Any]) -> Row:
        """Check and store changes of one row; returns it as it is afterwards."""
        old = await self.find(request, tx, key)
        changes = self.parse_update(request, body)
        self.enforce(request, "update", old, list(changes))
        await self.updating(request, tx, old, changes)
        if "updated_at" in self.by_name:
            changes.setdefault("updated_at", clock.now())
        if "generation" in self.by_name:
            changes["generation"] = old["generation"] + 1
        stored = {name: value for name, value in changes.items() if self.by_name[name].stored}
        if stored:
            await self.table.update(tx, {name: old[name] for name in self.table.keys}, stored)
        return old | changes

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"])
            self.enforce(request, "delete", row)
            await self.delete_row(request, tx, row)

        await self.db.write(work)
        return empty(204)

    async def delete_row(self, request: Request, tx: Tx, row: Row) -> None:
        await self.deleting(request, tx, row)
        await self.table.delete(tx, {name: row[name] for name in self.table.keys})

    # -- routes and documents ----------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """The default routes; an override adds actions and special paths."""
        one = self.path + "/{id}"
        known = {
            "list": Route("GET", self.path, self.list, f"{self.name}:list", rule=self.rule("get"),
                          query=self.query_names()),
            "create": Route("POST", self.path, self.create, f"{self.name}:create", rule=self.rule("create"),
                            status=201, body=self.body_type("c")),
            "show": Route("GET", one, self.show, f"{self.name}:show", rule=self.rule("get"), answer=self.answer_type()),
            "update": Route(self.update_method, one, self.update, f"{self.name}:update", rule=self.rule("update"),
                            body=self.body_type("u")),
            "delete": Route("DELETE", one, self.delete, f"{self.name}:delete", rule=self.rule("delete"), status=204),
        }  # fmt: skip
        return [route for verb, route in known.items() if verb in self.verbs]

    def query_names(self) -> tuple[str, ...]:
        return (*(a.label for a in self.attrs if a.filter), "limit", "marker", "sort_key", "sort_dir")

    def body_type(self, letter: str) -> Type:
        fields = {a.label: a.type for a in self.attrs if letter in a.write}
        required = [a.label for a in self.attrs if letter == "c" and "c" in a.write and a.default is REQUIRED]
        return Obj(fields={self.name: Obj(fields=fields, required=required)}, required=[self.name])

    def answer_type(self) -> Type:
        return Obj(fields={self.name: Obj(fields={a.label: a.type for a in self.attrs if a.shown})})


@lru_cache(4096)
def _fields(attrs: tuple[Attr, ...], version: Version, hidden: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple((a.label, a.name) for a in attrs if a.shown and a.exists_in(version) and a.name not in hidden)
