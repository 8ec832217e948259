"""Inspection rules: what an operator wants done with a Node by what its inspection found (inspection_language.py).

A sensitive rule may hold passwords: nobody reads again what it does, and the database has it encrypted.
"""

from typing import Any

import msgspec

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue, Bool, Custom, Int, Str, Time, Uuid
from hagane.baremetal.base import V1
from hagane.baremetal.inspection_language import ACTIONS, OPERATORS, Word, split
from hagane.baremetal.resource import BareResource
from hagane.errors import Invalid
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets

MULTIPLE = ("any", "all", "first", "last")
_HIDDEN = ("conditions", "actions")


def _entries(field: str, value: Any, words: dict[str, Word], *, inverts: bool) -> list[Row]:
    """Each with an operation that there is, and the arguments that it needs; anything else is left out."""
    if not isinstance(value, list):
        raise BadValue(field, value, f"{value!r} is not of type 'array'")
    return [_entry(field, entry, words, inverts=inverts) for entry in value]


def _entry(field: str, entry: Any, words: dict[str, Word], *, inverts: bool) -> Row:
    if not isinstance(entry, dict):
        raise BadValue(field, entry, f"{entry!r} is not of type 'object'")
    for name in ("op", "args"):
        if name not in entry:
            raise BadValue(field, entry, f"{name!r} is a required property")
    op, _ = split(str(entry["op"])) if inverts else (entry["op"], False)
    if not isinstance(entry["op"], str) or op not in words:
        raise BadValue(field, entry, f"{entry['op']!r} is not one of {list(words)}")
    words[op].named(op, entry["args"])
    kept: Row = {"op": entry["op"], "args": entry["args"]}
    loop = entry.get("loop")
    if loop is not None and not isinstance(loop, list | dict):
        raise BadValue(field, entry, f"{loop!r} is not of type 'array', 'object'")
    if loop:
        kept["loop"] = loop
    if inverts and entry.get("multiple", "any") not in MULTIPLE:
        raise BadValue(field, entry, f"{entry['multiple']!r} is not one of {list(MULTIPLE)}")
    return kept | ({"multiple": entry.get("multiple", "any")} if inverts and loop else {})


def _conditions(field: str, value: Any) -> list[Row]:
    return _entries(field, value, dict(OPERATORS), inverts=True)


def _actions(field: str, value: Any) -> list[Row]:
    found = _entries(field, value, dict(ACTIONS), inverts=False)
    if not found:
        raise BadValue(field, value, "[] should be non-empty")
    return found


def _phase(field: str, value: Any) -> Any:
    if value != "main":
        raise Invalid(f"Invalid phase: {value}. Valid phases are: main")
    return value


class InspectionRules(BareResource):
    name, plural, noun, title = "inspection_rule", "inspection_rules", "inspection_rule", "Rule"
    path, ident, since = V1 + "/inspection_rules", "inspection_rule_uuid", 96
    before = "The API version does not allow inspection rules"
    attrs = (
        Attr("id", Uuid(nullable=True), "c", wire="uuid", key=True),
        Attr("created_at", Time(nullable=True)),
        Attr("updated_at", Time(nullable=True)),
        Attr("description", Str(255, nullable=True), "cu"),
        Attr("priority", Int(loose=False, min=0, max=9999), "cu", int),
        Attr("sensitive", Bool(nullable=True), "cu", bool),
        Attr("phase", Custom(rule=_phase, kind="text"), "cu", lambda: "main"),
        Attr("conditions", Custom(rule=_conditions), "cu", list),
        Attr("actions", Custom(rule=_actions), "cu", REQUIRED),
        Attr("secrets", Str(None), default=str, shown=False),
    )
    indexes = ("phase", "created_at, id")
    brief = ("uuid", "priority", "phase", "description")
    patchable = ("actions", "conditions", "description", "phase", "priority", "sensitive")
    filters = ("phase",)

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self.secrets = cloud.use(Secrets)

    def document(self, row: Row) -> Row:
        return super().document(opened(self.secrets, row))

    def finish(self, request: Request, row: Row, view: Row, chosen: tuple[str, ...] | None) -> Row:
        if row["sensitive"]:
            view |= {name: None for name in _HIDDEN if name in view}
        return view

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        await self.unique(tx, "id", row["id"], f"An inspection rule with UUID {row['id']} already exists.")
        row |= _sealed(self.secrets, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        if old["sensitive"] and not changes.get("sensitive", True):
            raise Invalid("Inspection rules cannot have the sensitive flag unset.")
        changes |= _sealed(self.secrets, opened(self.secrets, old) | changes)


def _sealed(secrets: Secrets, row: Row) -> Row:
    """What of a rule is written otherwise than it was given."""
    if not row["sensitive"]:
        return {}
    hidden = secrets.encrypt(msgspec.json.encode({name: row[name] for name in _HIDDEN}).decode())
    return {name: [] for name in _HIDDEN} | {"secrets": hidden}


def opened(secrets: Secrets, row: Row) -> Row:
    """A rule with what it hides."""
    hidden: Row = msgspec.json.decode(secrets.decrypt(row["secrets"])) if row["secrets"] else {}
    return row | hidden


RULE = InspectionRules.table
