"""Resource options: a small map of known switches, of which `immutable` guards projects, domains and roles."""

from collections.abc import Mapping
from typing import Any

from hagane.api.types import Bool, Custom, ListOf, Obj, Str, Type
from hagane.errors import Forbidden
from hagane.state.database import Row

_SWITCH = Bool(nullable=True)
IMMUTABLE = {"immutable": _SWITCH}
OF_USERS: dict[str, Type] = {
    "ignore_change_password_upon_first_use": _SWITCH,
    "ignore_password_expiry": _SWITCH,
    "ignore_lockout_failure_attempts": _SWITCH,
    "lock_password": _SWITCH,
    "ignore_user_inactivity": _SWITCH,
    "multi_factor_auth_rules": ListOf(item=ListOf(item=Str(), min=1, unique=True), unique=True, nullable=True),
    "multi_factor_auth_enabled": _SWITCH,
}


def options(known: Mapping[str, Type]) -> Custom:
    """The type of an `options` attribute."""
    kind = Obj(fields=known)
    return Custom(rule=lambda field, value: kind.check(field, value), json_schema=kind.own_schema())


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Options after a change: what the change does not name stays, null removes."""
    return {name: value for name, value in ((old or {}) | new).items() if value is not None}


def is_immutable(row: Row) -> bool:
    return bool((row.get("options") or {}).get("immutable"))


def guard_update(kind: str, row: Row, body: dict[str, Any]) -> None:
    """An immutable thing takes one change only: to become mutable. Raises Forbidden."""
    if not is_immutable(row):
        return
    wanted = body.get("options")
    freed = isinstance(wanted, dict) and "immutable" in wanted and not wanted["immutable"]
    if len(body) > 1 or not freed:
        raise _forbidden("update", kind, row)


def guard_delete(kind: str, row: Row) -> None:
    if is_immutable(row):
        raise _forbidden("delete", kind, row)


def _forbidden(verb: str, kind: str, row: Row) -> Forbidden:
    # The lone backquote is the real service's.
    return Forbidden(
        f'Unable to {verb} immutable {kind} resource: `{row["id"]}. Set resource option "immutable" to false first.'
    )
