"""What all resources of the network API have in common: wrapping, bulk creation, policy, visibility, tags, revisions.

A request's way: body ─▶ attributes checked ─▶ transaction [ policy ─▶ quota ─▶ `creating` ─▶ row ] ─▶ answer.

Who may see what is a condition in SQL (`visible`), so lists ask the policy once and not per row: an administrator sees
all, others what belongs to their project and what is shared with it. A row that a caller may not see does not exist for
them: 404.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast
from uuid import uuid4

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.policy import Policy
from hagane.api.resource import REQUIRED, Attr, Resource
from hagane.api.service import Route
from hagane.errors import Forbidden, HaganeError, NotFound, Precondition
from hagane.network import quota, tag
from hagane.network.errors import bad_request, error
from hagane.network.listing import Extent, filters
from hagane.network.present import FromTuple, Made, compiled, from_row
from hagane.network.value import Checked, Flag, Id, Text, Whole
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql

ROOT = "/network/v2.0"
UNSET: Any = object()
"""The default of an attribute that has none and need not be given: the row lacks it until a hook decides."""

Special = Callable[[Any, Request, list[str]], list[Sql]]
Given = frozenset[str]
"""Names of the attributes that a caller set to something else than their default."""


def standard(*, name: bool = True, tags: str = "u", description: int = 255) -> tuple[Attr, ...]:
    """The attributes that nearly every resource has. The revision number is the row's generation.

    `tags`: "c" they may be given on creation; "u" they have routes of their own only; "" it has none.
    """
    own = (Attr("name", Text(255), write="cu", default=""),) if name else ()
    tag_type = Checked(rule=lambda field, value: tag.check_all(value))
    kept = Attr("tags", tag_type, write=tags.replace("u", ""), default=list, rule=True, filter=False, sort=False)
    return (
        Attr("id", Id(), key=True),
        *own,
        Attr("project_id", Text(255), write="c", default=UNSET),
        Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False),
        Attr("description", Text(description), write="cu", default=""),
        *((kept,) if tags else ()),
        Attr("generation", Whole(), wire="revision_number"),
        Attr("created_at", Text(), filter=False),
        Attr("updated_at", Text(), filter=False),
    )


class NetResource(Resource):
    """Base of the network API's resources. Subclasses say their attributes and hooks."""

    missing: ClassVar[str] = ""  # the error's name when there is no such thing
    quota: ClassVar[str] = ""  # the name of its quota; empty: not counted
    special: ClassVar[Mapping[str, Special]] = {}  # filters that are more than a column's value
    parent_rules: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("id",)  # columns that `computed` reads
    bulk: ClassVar[bool] = True
    rbac: ClassVar[str] = ""  # object type of its RBAC rows; empty: it cannot be shared

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self._labels = tuple((a.label, self.column(a)) for a in self.attrs if a.shown)
        self._compiled: dict[tuple[tuple[str, str | None], ...], FromTuple] = {}
        self._creatable = [(a.label, a.name, a.default, a.type.check) for a in self.attrs if "c" in a.write]
        self._uncreatable = frozenset(a.label for a in self.attrs if "c" not in a.write)
        self._read_rules: list[tuple[str, str]] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not cls.path and cls.plural:
            cls.path = f"{ROOT}/{cls.plural.replace('_', '-')}"
        super().__init_subclass__(**kwargs)

    @staticmethod
    def column(attr: Attr) -> str | None:
        """The column that keeps an attribute; None where it is computed."""
        if attr.name == "tenant_id":
            return "project_id"
        return attr.name if attr.stored else None

    # -- who may see and do what -------------------------------------------------------------------------------

    def policy(self, request: Request) -> Policy:
        return cast(Policy, request.service.policy)

    def sees_all(self, request: Request) -> bool:
        """Administrators and other services are not restricted to a project."""
        return (
            request.allowed("context_is_admin")
            or request.allowed("context_is_advsvc")
            or request.allowed("service_api")
        )

    def visible(self, request: Request) -> list[Sql]:
        """The caller's own rows, and shared ones."""
        if self.sees_all(request):
            return []
        return [Sql(" OR ".join(self.visible_to(request)), {"me": request.caller.project_id or ""})]

    def visible_to(self, request: Request) -> list[str]:
        """Alternatives in SQL, about the project `:me`."""
        own = [f"{self.table.name}.project_id = :me"]
        if self.rbac:
            own.append(f"{self.table.name}.id IN ({shared_sql(self.rbac)})")
        return own

    async def target_of(self, request: Request, reader: Reader, row: Row) -> dict[str, Any]:
        """A row as policy rules know it, with what they ask about its parent."""
        by_name = self.by_name
        return {by_name[name].label: value for name, value in row.items() if name in by_name}

    def check(self, request: Request, verb: str, target: dict[str, Any], row: Row, given: Given = frozenset()) -> None:
        """Ask the policy for the verb and for each given attribute that has a rule. Raises Forbidden or NotFound."""
        rule, policy, creds = self.rule(verb), self.policy(request), request.caller.creds
        more = attribute_rules(rule, [(self.by_name[n].label, row.get(n)) for n in given if self.by_name[n].rule])
        try:
            policy.enforce(rule, creds, target)
            for name, inner in more:
                for each in (name, *inner):
                    if not policy.check(each, creds, target):
                        raise error("PolicyNotAuthorized", rule=spelled(rule, more))
        except Forbidden as refusal:
            if verb != "create" and not request.allowed(self.rule("get"), target):
                raise error("HTTPNotFound") from None
            if more and refusal.code == "PolicyNotAuthorized":
                raise error("PolicyNotAuthorized", rule=spelled(rule, more)) from None
            raise

    async def find(self, request: Request, reader: Reader, key: str) -> Row:
        rows = await self.table.select(reader, {"id": key}, conditions=self.visible(request))
        if not rows:
            raise self.not_found(key)
        return rows[0]

    def not_found(self, key: str) -> NotFound:
        return cast(NotFound, error(self.missing, id=key))

    # -- bodies ------------------------------------------------------------------------------------------------

    def unwrap(self, body: Any, *, bulk: bool) -> tuple[list[dict[str, Any]], bool]:
        """The objects of a body, and whether it was a list of them. Raises HTTPBadRequest."""
        if body is None:
            raise bad_request("Resource body required")
        if not isinstance(body, dict):
            raise bad_request("Body contains invalid data")
        if bulk and self.plural in body:
            many = body[self.plural]
            if not many:
                raise bad_request("Resources required")
            if not isinstance(many, list) or not all(isinstance(entry, dict) for entry in many):
                raise bad_request("Body contains invalid data")
            return [self._object(entry if self.name in entry else {self.name: entry}) for entry in many], True
        return [self._object(body)], False

    def _object(self, body: dict[str, Any]) -> dict[str, Any]:
        inner = body.get(self.name)
        if inner is None:
            raise bad_request(f"Unable to find '{self.name}' in request body")
        if not isinstance(inner, dict):
            raise bad_request(f"Object '{self.name}' contains invalid data")
        return inner

    def _known(self, request: Request, body: dict[str, Any], *, create: bool) -> dict[str, Any]:
        """The body with its owner under both names, if it names or needs one."""
        body = dict(body)
        for one, other in (("tenant_id", "project_id"), ("project_id", "tenant_id")):
            if one in body and other not in body:
                body[other] = body[one]
        if body.get("project_id") != body.get("tenant_id"):
            raise bad_request("'project_id' and 'tenant_id' do not match")
        if "project_id" in body and body["project_id"] != request.caller.project_id and not self.sees_all(request):
            raise bad_request("Specifying 'project_id' other than the authenticated project in request is not allowed "
                              "for the current user.")  # fmt: skip
        if create and "project_id" in self.by_label and "project_id" not in body:
            if not request.caller.project_id:
                raise bad_request("Running without keystone AuthN requires that project_id is specified")
            body["project_id"] = body["tenant_id"] = request.caller.project_id
        unknown = [label for label in body if label not in self.by_label]
        if unknown:
            raise bad_request(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        return body

    def new_row(self, request: Request, body: dict[str, Any]) -> tuple[Row, Given]:
        """A body as a row, defaults included, and which attributes were set to something else than these."""
        body = self._known(request, body, create=True)
        row: Row = {}
        given = []
        if not self._uncreatable.isdisjoint(body):
            raise bad_request(f"Attribute '{next(x for x in body if x in self._uncreatable)}' not allowed in POST")
        for label, name, default, check in self._creatable:
            if label not in body:
                if default is REQUIRED:
                    raise bad_request(f"Failed to parse request. Required attribute '{label}' not specified")
                if default is not UNSET:
                    row[name] = default() if callable(default) else default
                continue
            value = row[name] = check(label, body[label])
            if default is UNSET or default is REQUIRED or value != (default() if callable(default) else default):
                given.append(name)
        row.pop("tenant_id", None)
        return row, frozenset(given)

    def changed_row(self, request: Request, body: dict[str, Any]) -> Row:
        """A body as changes."""
        body = self._known(request, body, create=False)
        for label in body:
            if "u" not in self.by_label[label].write:
                raise bad_request(f"Cannot update read-only attribute {label}")
        return {
            self.by_label[label].name: self.by_label[label].type.check(label, value) for label, value in body.items()
        }

    def stamp(self, row: Row) -> None:
        """Identity and times of a new row."""
        if row.get("id") is None:
            row["id"] = str(uuid4())
        row["created_at"] = row["updated_at"] = clock.now()
        row["generation"] = 1
        row.setdefault("tags", [])

    # -- hooks -------------------------------------------------------------------------------------------------

    async def making(self, request: Request, tx: Tx, row: Row, given: Given) -> None:
        """Before a new row is stored: refuse it, complete it, take allocations, wake reconcilers."""

    async def made(self, request: Request, tx: Tx, row: Row) -> None:
        """After a new row is stored: what hangs on it."""

    async def changing(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        """Before changes are stored; may add to them."""

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        """Before a row is deleted."""

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> Sequence[Made]:
        """What answers hold that is not stored, for all rows at once. Each row has at least the columns of `needs`."""
        return [{}] * len(rows)

    # -- transactions ------------------------------------------------------------------------------------------

    async def make(self, request: Request, tx: Tx, row: Row, given: Given) -> Row:
        """Check, complete and store one new row."""
        row = dict(row)
        self.stamp(row)
        target = await self.target_of(request, tx, row)
        self.check(request, "create", target, row, given)
        if self.quota:
            await quota.charge(tx, row["project_id"], self.quota)
        await self.making(request, tx, row, given)
        await self.table.insert(tx, row)
        if row["tags"]:
            await tag.store(tx, self.plural, row["id"], row["tags"])
        await self.made(request, tx, row)
        return row

    async def change(self, request: Request, tx: Tx, old: Row, changes: Row) -> Row:
        """Check and store changes; returns the row as it is afterwards."""
        target = await self.target_of(request, tx, old | changes)
        self.check(request, "update", target, changes, frozenset(changes))
        self.match(request, old)
        await self.changing(request, tx, old, changes)
        return await self.store(tx, old, changes)

    async def store(self, tx: Tx, old: Row, changes: Row) -> Row:
        """Write changes of intent; nothing is written when nothing differs."""
        changes = {name: value for name, value in changes.items() if self.by_name[name].stored}
        if all(old.get(name) == value for name, value in changes.items()):
            return old
        changes["updated_at"] = clock.now()
        changes["generation"] = old["generation"] + 1
        await self.table.update(tx, {"id": old["id"]}, changes)
        return old | changes

    async def unmake(self, request: Request, tx: Tx, row: Row) -> None:
        """Delete a row and what hangs on it."""
        await self.unmaking(request, tx, row)
        await self.table.delete(tx, {"id": row["id"]})
        if row.get("tags"):
            await tag.forget(tx, row["id"])
        if self.quota:
            await quota.charge(tx, row["project_id"], self.quota, -1)

    def match(self, request: Request, row: Row) -> None:
        """The revision that the caller insists on (`If-Match: revision_number=3`). Raises Precondition."""
        wanted = [e for e in request.headers.get("if-match", "").replace('"', "").split(",")
                  if e.strip().startswith("revision_number=")]  # fmt: skip
        if not wanted:
            return
        if len(wanted) > 1:
            raise error("BadRequest", resource="if-match", reason="Multiple revision_number etags are not supported.")
        number = wanted[0].strip().removeprefix("revision_number=")
        if not number.lstrip("-").isdigit():
            reason = "Revision number etag must be in the format of revision_number=<int>"
            raise error("BadRequest", resource="if-match", reason=reason)
        if int(number) != row["generation"]:
            text = f"Constrained to {number}, but current revision is {row['generation']}"
            raise Precondition(text, code="RevisionNumberConstraintFailed")

    # -- answers -----------------------------------------------------------------------------------------------

    def labels(self, request: Request, target: dict[str, Any]) -> tuple[tuple[str, str | None], ...]:
        """(wire name, column) of what this caller gets to see: the asked-for fields, less what the policy hides."""
        policy = self.policy(request)
        if self._read_rules is None:
            rules = [(label, f"{self.rule('get')}:{label}") for label, _ in self._labels]
            self._read_rules = [(label, rule) for label, rule in rules if rule in policy]
        creds = request.caller.creds
        hidden = [label for label, rule in self._read_rules if not policy.check(rule, creds, target)]
        fields = [value for name, value in request.query if name == "fields" and value]
        if not hidden and not fields:
            return self._labels
        return tuple(
            (label, column) for label, column in self._labels
            if label not in hidden and (not fields or label in fields)
        )  # fmt: skip

    async def views(self, request: Request, reader: Reader, rows: list[Row]) -> list[Made]:
        """Rows of Python values as answers."""
        if not rows:
            return []
        labels = self.labels(request, await self.target_of(request, reader, rows[0]))
        made = await self.computed(request, reader, rows)
        return [from_row(row, labels, extra) for row, extra in zip(rows, made, strict=True)]

    async def view(self, request: Request, reader: Reader, row: Row) -> Made:
        return (await self.views(request, reader, [row]))[0]

    async def _list_views(self, request: Request, found: Sequence[Sequence[Any]]) -> list[Made]:
        """Rows as the store keeps them as answers: the fast way for long lists."""
        if not found:
            return []
        labels = self.labels(request, await self.target_of(request, self.db, self.table.decode(found[0])))
        presenter = self._compiled.get(labels)
        if presenter is None:
            presenter = self._compiled[labels] = compiled(self.table, labels)
        if all(column is not None for _, column in labels):
            nothing: Made = {}
            return [presenter(values, nothing) for values in found]
        places = [(name, self.table.names.index(name)) for name in self.needs]
        rows = [{name: values[place] for name, place in places} for values in found]
        made = await self.computed(request, self.db, rows)
        return [presenter(values, extra) for values, extra in zip(found, made, strict=True)]

    # -- handlers ----------------------------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        where, conditions = filters(request, self)
        extent = Extent.of(request, self)
        conditions += self.visible(request)
        if (behind := await extent.condition(self.db, self)) is not None:
            conditions.append(behind)
        found: Sequence[Sequence[Any]] = ()
        if self.may_list(request):
            found = await self.table.select_tuples(
                self.db, where, conditions=conditions, order=extent.order(self), limit=extent.limit or None
            )
        if extent.reverse and extent.limit:
            found = list(reversed(found))
        answer: dict[str, Any] = {self.plural: await self._list_views(request, found)}
        if links := extent.links(request, [values[0] for values in found]):
            answer[f"{self.plural}_links"] = links
        return json_response(200, answer)

    def may_list(self, request: Request) -> bool:
        """Whether the caller's roles let it read what is its own (and so, what is shared with it)."""
        me = request.caller.project_id
        owners = dict.fromkeys(("project_id", "network:project_id", "security_group:project_id"), me)
        return request.allowed(self.rule("get"), owners | {"shared": True, "router:external": True})

    async def show(self, request: Request) -> Response:
        row = await self.find(request, self.db, request.params["id"])
        target = await self.target_of(request, self.db, row)
        if not request.allowed(self.rule("get"), target):
            raise error("HTTPNotFound")
        return json_response(200, {self.name: await self.view(request, self.db, row)})

    async def create(self, request: Request) -> Response:
        bodies, bulk = self.unwrap(await request.json(), bulk=self.bulk)
        parsed = [self.new_row(request, body) for body in bodies]

        async def work(tx: Tx) -> list[Made]:
            rows = [await self.make(request, tx, row, given) for row, given in parsed]
            return await self.views(request, tx, rows)

        views = await self.db.write(work)
        return json_response(201, {self.plural: views} if bulk else {self.name: views[0]})

    async def update(self, request: Request) -> Response:
        body = self.unwrap(await request.json(), bulk=False)[0][0]

        async def work(tx: Tx) -> Made:
            old = await self.find(request, tx, request.params["id"])
            row = await self.change(request, tx, old, self.changed_row(request, body))
            return await self.view(request, tx, row)

        return json_response(200, {self.name: await self.db.write(work)})

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"])
            self.check(request, "delete", await self.target_of(request, tx, row), row)
            self.match(request, row)
            await self.unmake(request, tx, row)

        await self.db.write(work)
        return empty(204)

    def action(self, verb: str, path: str, handler: Any, method: str = "PUT", status: int = 200) -> Route:
        """A route beside the default ones: `path` is relative to one resource."""
        return Route(method, f"{self.path}/{{id}}/{path}", handler, f"{self.name}:{verb}", rule=verb, status=status)


def attribute_rules(rule: str, values: list[tuple[str, Any]]) -> list[tuple[str, list[str]]]:
    """The rules of given attributes, each with those of what is inside it (`create_port:fixed_ips:ip_address`)."""
    rules = []
    for label, value in values:
        inner: dict[str, None] = {}
        if label == "external_gateway_info" and isinstance(value, dict):
            inner = dict.fromkeys(value)
        elif isinstance(value, list):
            inner = {key: None for entry in value if isinstance(entry, dict) for key in entry}
        rules.append((f"{rule}:{label}", [f"{rule}:{label}:{key}" for key in inner]))
    return rules


def spelled(rule: str, more: list[tuple[str, list[str]]]) -> str:
    """All rules that had to hold, as the real service spells them in its refusal."""
    text = f"rule:{rule}"
    for name, inner in more:
        each = f"rule:{name}"
        if inner:
            each = f"({each} and ({' and '.join('rule:' + one for one in inner)}))"
        text = f"({text} and {each})"
    return text


def shared_sql(object_type: str, action: str = "access_as_shared") -> str:
    """The objects of a type that are shared with the project `:me`."""
    return (
        f"SELECT object_id FROM rbac_policy WHERE object_type = '{object_type}' AND action = '{action}' "
        "AND target_project IN (:me, '*')"
    )


def envelope(fault: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    """{"NeutronError": {...}}; only the answer to a missing token looks as the identity middleware's."""
    if status == 401:
        return {"error": {"message": fault.message, "code": 401, "title": "Unauthorized"}}, {}
    name, message = _GENERIC.get(fault.code, (fault.code, ""))
    return {"NeutronError": {"type": name, "message": message or fault.message, "detail": ""}}, {}


_GENERIC = {
    "Invalid": ("HTTPBadRequest", ""),
    "MalformedBody": ("HTTPBadRequest", "Body contains invalid data"),
    "NotFound": ("HTTPNotFound", ""),
    "NoRoute": ("HTTPNotFound", "The resource could not be found."),
    "MethodNotAllowed": (
        "HTTPMethodNotAllowed",
        "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    ),
    "Unforeseen": ("HTTPInternalServerError", "Request Failed: internal server error while processing your request."),
    "Unavailable": ("ServiceUnavailable", ""),
}


def wording(field: str, value: Any, reason: str) -> str:
    return f"Invalid input for {field}. Reason: {reason}."


__all__ = ["REQUIRED", "ROOT", "UNSET", "Attr", "Checked", "Flag", "Given", "Id", "NetResource", "Text", "Whole"]
