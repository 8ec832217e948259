"""The conventions of the Identity API: wrapping, links, extra attributes, filters, policy targets, error wording.

Unlike the other services this one keeps attributes it does not know (`extra`) and answers them again, as clients of the
real service store things there. Mostly refusal comes before existence: who may not see a kind of thing is told 403 for
what exists and what does not. Where the real service looks first (`sought`), so do we.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from hagane.api.faults import REASON
from hagane.api.http import Caller, Request, Response, empty, json_response
from hagane.api.listing import Page
from hagane.api.resource import Attr, Resource
from hagane.api.service import Route
from hagane.api.types import BadValue, Bool, Int, Str
from hagane.errors import Conflict, Forbidden, HaganeError, Invalid, NotFound
from hagane.identity.options import guard_delete, guard_update, merged
from hagane.state.database import Database, Duplicate, Reader, Row, Tx, Work
from hagane.state.table import Sql

T = TypeVar("T")
PREFIX = "/identity"
V3 = PREFIX + "/v3"
NAME = Str(255, min=1, pattern=r"[\S]+")
SHORT_NAME = Str(64, min=1, pattern=r"[\S]+")
REF = Str(64, min=1, pattern=r"^[a-zA-Z0-9-]+\Z")
SECRET = ("password", "original_password", "secret", "blob")  # attributes whose value no error repeats
CHANGED = "identity"
"""The topic of `tx.notify`: cached tokens are worthless. `identity:<id>` says it of one user, project or token."""
CATALOG = f"{CHANGED}:catalog"
"""The topic that says only: what projects see of the catalog has changed."""

_INEXACT = {
    "contains": "REPLACE({column}, {value}, '') <> {column}",
    "startswith": "SUBSTR({column}, 1, LENGTH({value})) = {value}",
    "endswith": "LENGTH({column}) >= LENGTH({value})"
    " AND SUBSTR({column}, LENGTH({column}) - LENGTH({value}) + 1) = {value}",
}


UNAUTHORIZED = "You are not authorized to perform the requested action."


def could_not_find(kind: str, key: str) -> NotFound:
    return NotFound(f"Could not find {kind}: {key}.")


def refused(rule: str) -> Forbidden:
    return Forbidden(f"You are not authorized to perform the requested action: {rule}.", code="PolicyNotAuthorized")


def expected(attribute: str, target: str) -> Invalid:
    return Invalid(
        f"Expecting to find {attribute} in {target}. The server could not comply with the request since it is either"
        " malformed or otherwise incorrect. The client is assumed to be in error."
    )


def envelope(error: HaganeError, status: int, request: Request) -> tuple[Any, dict[str, str]]:
    message = error.message
    if error.code == "MalformedBody":
        message = expected("valid JSON", "request body").message
    return {"error": {"code": status, "message": message, "title": REASON.get(status, "Error")}}, {}


def wording(field: str, value: Any, reason: str) -> str:
    masked = _masked(value)
    reason = reason.replace(repr(value), repr(masked)) if masked != value else reason
    if not field:
        return reason
    name = field.rpartition(".")[2]
    shown, why = ("***", "It is wrong.") if name in SECRET else (masked, reason)
    return f"Invalid input for field/attribute {name}. Value: {shown}. {why}"


def _masked(value: Any) -> Any:
    """What was sent, without the secrets anywhere in it."""
    if isinstance(value, dict):
        return {key: "***" if key in SECRET else _masked(part) for key, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list) else value


def enforce(request: Request, rule: str, target: dict[str, Any] | None = None) -> None:
    """Ask the policy. `target` names things as the real service's rules do: {"target": {"user": {...}}, ...}."""
    if not request.allowed(rule, target):
        raise refused(rule)


def not_delegated(caller: Caller, action: str = "", *, trusts: bool = False, credentials: bool = False) -> None:
    """Refuse tokens that were not made for their user: those of credentials and, unless let pass, of trusts.

    They must not give themselves more than they were given. Without `action` the refusal does not say what for.
    """
    by_trust = bool(caller.more.get("trust_id")) and not trusts
    by_credential = bool(caller.more.get("delegated")) and not (credentials and caller.application_credential_id)
    if by_trust or by_credential:
        raise refused(action.rstrip(".")) if action else Forbidden(UNAUTHORIZED, detail="the token is delegated")


def role_part(row: Row) -> dict[str, Any]:
    """A role within something else, without links."""
    return {name: row[name] for name in ("id", "name", "description", "options")} | {
        "domain_id": row["domain_id"] or None
    }


def links(request: Request, path: str = "") -> dict[str, Any]:
    """The links of a collection."""
    query = request.scope["query_string"].decode("latin-1")
    own = f"{request.base_url}{path or request.path}" + (f"?{query}" if query else "")
    return {"next": None, "self": own, "previous": None}


async def put(db: Database, work: Work[T]) -> T:
    """Write what may be there already. Whoever loses a race on PostgreSQL looks again, and finds it."""
    try:
        return await db.write(work)
    except Duplicate:
        return await db.write(work)


class IdentityResource(Resource):
    """Base of the resources of this API. `flags` are the attributes that a list can be filtered by."""

    update_method = "PATCH"
    flags: ClassVar[tuple[str, ...]] = ("name",)
    blank: ClassVar[tuple[str, ...]] = ()  # attributes whose empty text in the store means null
    fixed: ClassVar[dict[str, HaganeError]] = {}  # attributes that may not change, and what is said then
    within: ClassVar[dict[str, Any]] = {}  # what all rows of the resource have in common in a shared table
    needs_change: ClassVar[bool] = True  # whether an update that changes nothing is refused
    guarded: ClassVar[bool] = False  # by the option `immutable`
    kind: ClassVar[str] = ""  # in error texts, where it differs from the name
    sought: ClassVar[frozenset[str]] = frozenset()  # verbs that look for the row before they ask the policy

    # -- conventions -------------------------------------------------------------------------------------------

    def rule(self, verb: str) -> str:
        return f"identity:{verb}_{self.plural if verb == 'list' else self.name}"

    def target(self, row: Row) -> dict[str, Any]:
        return {"target": {self.name: self.shown(row)}}

    def shown(self, row: Row) -> Row:
        """The row with null where the store keeps an empty text."""
        return row | {name: row[name] or None for name in self.blank} if self.blank else row

    def wrap(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise Invalid("The body is not an object.", code="MalformedBody")
        inner = body.get(self.name)
        if inner is None:
            raise BadValue("", body, f"'{self.name}' is a required property")
        if not isinstance(inner, dict):
            raise BadValue(self.name, inner, f"{inner!r} is not of type 'object'")
        return inner

    def not_found(self, key: str) -> NotFound:
        return could_not_find(self.kind or self.name, key)

    def forbidden(self, rule: str) -> Forbidden:
        return refused(rule)

    def link(self, request: Request, row: Row) -> str:
        return f"{request.base_url}{self.path}/{row[self.table.keys[0]]}"

    def list_answer(self, request: Request, views: list[Any], page: Page) -> Any:
        shown = links(request)
        if page.more and views:
            shown["next"] = request.page_url(marker=views[-1]["id"], limit=page.limit)
        return {self.plural: views, "links": shown} | ({"truncated": True} if page.more else {})

    # -- attributes --------------------------------------------------------------------------------------------

    def stamp(self, row: Row) -> None:
        if row.get("id") is None:
            row["id"] = uuid4().hex

    def unknown(self, row: Row, label: str, value: Any) -> None:
        if "extra" not in self.by_name:
            super().unknown(row, label, value)
        elif label not in ("links", "id"):
            row.setdefault("extra", {})[label] = value

    def read_only(self, attr: Attr, letter: str, value: Any) -> None:
        """What the caller sends back of an earlier answer is let pass; `updating` refuses what would be a change."""

    def parse_update(self, request: Request, body: dict[str, Any]) -> Row:
        if not body and self.needs_change:
            raise BadValue(self.name, body, "{} should be non-empty")
        if body.get("id") not in (None, request.params["id"]):
            raise Invalid("Cannot change ID")
        return super().parse_update(request, body)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if "extra" in changes:
            changes["extra"] = (old.get("extra") or {}) | changes["extra"]
        if "options" in changes:
            changes["options"] = merged(old.get("options"), changes["options"])
        if isinstance(changes.get("name"), str):
            changes["name"] = changes["name"].strip()
        tx.notify(f"{CHANGED}:{old['id']}")

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        if isinstance(row.get("name"), str):
            row["name"] = row["name"].strip()
        if "options" in row:
            row["options"] = merged({}, row["options"])

    async def present(self, request: Request, rows: list[Row], reader: Reader | None = None) -> list[Any]:
        fields = self.fields(request)
        views = []
        for row in map(self.shown, rows):
            view = dict(row.get("extra") or {})
            view.update({label: row.get(name) for label, name in fields})
            view["links"] = {"self": self.link(request, row)}
            views.append(view)
        return views

    def routes(self) -> Sequence[Route]:
        return [replace(r, rule=self.rule("list")) if r.name.endswith(":list") else r for r in super().routes()]

    # -- handlers ----------------------------------------------------------------------------------------------

    async def find(self, request: Request, reader: Reader, key: str, verb: str = "get") -> Row:
        """The row of a key, after the policy has been asked about it. Raises Forbidden, NotFound.

        Which of the two comes first is the real service's choice, verb by verb: mostly the refusal.
        """
        row = await self.table.get(reader, **{self.table.keys[0]: key}, **self.within)
        if row is None and verb in self.sought:
            raise self.not_found(key)
        enforce(request, self.rule(verb), {f"{self.name}_id": key} | (self.target(row) if row else {"target": {}}))
        if row is None:
            raise self.not_found(key)
        return row

    def list_rule(self, request: Request) -> str:
        return self.rule("list")

    def list_target(self, request: Request) -> dict[str, Any]:
        """What the rule of a list is asked about: a domain-scoped caller lists what is in its domain."""
        return {"target": {"domain_id": request.caller.domain_id}} if request.caller.domain_id else {}

    def visible(self, request: Request) -> list[Sql]:
        domain = request.caller.domain_id
        if domain and "domain_id" in self.by_name:
            return [Sql(f"{self.table.name}.domain_id = :own_domain", {"own_domain": domain})]
        return []

    async def list(self, request: Request) -> Response:
        enforce(request, self.list_rule(request), self.list_target(request))
        page = Page.of(request, self, most=1000 if "limit" in request.args else None)
        if (most := await self.most(request)) is not None:
            page.limit = most if page.limit is None else min(page.limit, most)
        conditions = [*filters(request, self), *self.only(request)]
        try:
            rows = await page.rows(self.db, self.table, self.within, conditions, self.visible(request))
        except Invalid as error:
            raise NotFound(f"Marker {page.marker} could not be found.") from error
        return json_response(200, self.list_answer(request, await self.present(request, rows), page))

    async def most(self, request: Request) -> int | None:
        """How many rows one list shows, whatever is asked for."""
        return None

    def only(self, request: Request) -> Sequence[Sql]:
        """Further conditions of the list."""
        return ()

    async def create_row(self, request: Request, tx: Tx, body: dict[str, Any]) -> Row:
        self.enforce_create(request, body)
        row = self.parse_create(request, body)
        await self.creating(request, tx, row)
        await self.insert(tx, row)
        return row

    def enforce_create(self, request: Request, body: dict[str, Any]) -> None:
        enforce(request, self.rule("create"), {"target": {self.name: body}})

    async def insert(self, tx: Tx, row: Row) -> None:
        try:
            await self.table.insert(tx, row)
        except Duplicate as error:
            raise self.conflict(row) from error

    def conflict(self, row: Row) -> Conflict:
        """The real service's words for a name that is taken."""
        details = f"Duplicate entry found with name {row.get('name')}"
        if row.get("domain_id"):
            details += f" at domain ID {row['domain_id']}"
        return Conflict(f"Conflict occurred attempting to store {self.kind or self.name} - {details}.")

    async def update_row(self, request: Request, tx: Tx, key: str, body: dict[str, Any]) -> Row:
        old = await self.find(request, tx, key, "update")
        changes = self.parse_update(request, body)
        shown = self.shown(old)
        for name, error in self.fixed.items():
            if name in body and body[name] != shown[name]:
                raise error
        if self.guarded:
            guard_update(self.name, old, body)
        await self.updating(request, tx, old, changes)
        stored = {name: value for name, value in changes.items() if self.by_name[name].stored}
        if stored:
            try:
                await self.table.update(tx, {name: old[name] for name in self.table.keys}, stored)
            except Duplicate as error:
                raise self.conflict({"id": old["id"]} | changes) from error
        return old | changes

    async def delete(self, request: Request) -> Response:
        async def work(tx: Tx) -> None:
            row = await self.find(request, tx, request.params["id"], "delete")
            if self.guarded:
                guard_delete(self.name, row)
            await self.delete_row(request, tx, row)

        await self.db.write(work)
        return empty(204)


def filters(request: Request, resource: IdentityResource) -> list[Sql]:
    """Conditions of a query: `name=x`, `name__contains=x`, `name__icontains=x`, `enabled=false`, each filter once."""
    conditions: list[Sql] = []
    for number, (label, text) in enumerate(request.query):
        base, _, comparator = label.partition("__")
        attr = resource.by_label.get(base)
        if attr is None or base not in resource.flags or not attr.stored:
            continue
        column, slot = f"{resource.table.name}.{attr.name}", f"filter_{number}"
        if comparator:
            conditions += _inexact(column, slot, comparator, text)
        elif isinstance(attr.type, Bool):
            # A filter that is there without a value means true.
            value = attr.type.query(label, text) if text else True
            conditions.append(Sql(f"{column} = :{slot}", {slot: int(value)}))
        elif isinstance(attr.type, Int):
            conditions.append(Sql(f"{column} = :{slot}", {slot: attr.type.query(label, text)}))
        else:
            value = attr.type.check(label, text) if "c" in attr.write else text
            conditions.append(Sql(f"{column} = :{slot}", {slot: value}))
    return conditions


def _inexact(column: str, slot: str, comparator: str, text: str) -> list[Sql]:
    """Without LIKE: whether that minds the case is different in the two stores."""
    lower, comparator = comparator.startswith("i"), comparator.removeprefix("i")
    if comparator not in _INEXACT or not text:
        return []
    column, text = (f"LOWER({column})", text.lower()) if lower else (column, text)
    return [Sql(_INEXACT[comparator].format(column=column, value=f"CAST(:{slot} AS TEXT)"), {slot: text})]
