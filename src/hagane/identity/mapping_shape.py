"""What the rules of a mapping may say: which attributes somebody must have, and who that is here.

    rule: remote [{type, any_one_of | not_any_of | whitelist | blacklist, regex}]  ──▶  local [{user, group, ...}]

Version 2.0 of the rules lets a project name its domain, 3.0 lets projects come from an attribute.
"""

from collections.abc import Mapping
from typing import Any

from hagane.api.types import BadValue, Bool, Custom, Enum, ListOf, Obj, Str, Type

VERSIONS = ("1.0", "2.0", "3.0")
ANY: Type = Str(None)
_DOMAIN = Obj(fields={"id": ANY, "name": ANY})
_USER = Obj(
    fields={"id": ANY, "name": ANY, "email": ANY, "domain": _DOMAIN, "type": Enum(values=("ephemeral", "local"))}
)
_ROLES = ListOf(item=Obj(fields={"name": ANY}, required=("name",)))
_BY_ID = Obj(fields={"id": ANY}, required=("id",))
_BY_NAME = Obj(fields={"name": ANY, "domain": _DOMAIN}, required=("name", "domain"))
_REMOTE = Obj(fields={"type": ANY}, required=("type",), open=True)
CONDITIONS = ("any_one_of", "not_any_of", "blacklist", "whitelist")


def _group(field: str, value: Any) -> Any:
    return (_BY_ID if isinstance(value, dict) and "id" in value else _BY_NAME).check(field, value)


_GROUP = Custom(rule=_group, json_schema=_BY_ID.own_schema())


def _remote(field: str, value: Any) -> Any:
    """An attribute, and at most one condition on its values."""
    said = [word for word in CONDITIONS if isinstance(value, dict) and word in value]
    if len(said) > 1:
        raise BadValue(field, value, f"{value!r} is not valid under any of the given schemas")
    fields: dict[str, Type] = {"type": ANY}
    if said:
        fields |= {said[0]: ListOf(), "regex": Bool()}
    return Obj(fields=fields, required=("type",)).check(field, value)


def _local(version: str) -> Type:
    project: dict[str, Type] = {"name": ANY, "roles": _ROLES} | ({} if version == "1.0" else {"domain": _DOMAIN})
    projects = ListOf(item=Obj(fields=project, required=("name", "roles")))
    fields: Mapping[str, Type] = {
        "user": _USER, "projects": projects, "group": _GROUP, "groups": ANY, "group_ids": ANY,
        "domain": _DOMAIN,
    }  # fmt: skip
    return Obj(fields={**fields, **({"projects_json": ANY} if version == "3.0" else {})})


def _rules(version: str) -> Type:
    remote = ListOf(item=Custom(rule=_remote, json_schema=_REMOTE.own_schema()), min=1)
    rule = Obj(fields={"local": ListOf(item=_local(version)), "remote": remote}, required=("local", "remote"))
    return ListOf(item=rule, min=1)


RULES: dict[str, Type] = {version: _rules(version) for version in VERSIONS}
