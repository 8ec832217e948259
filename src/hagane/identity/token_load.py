"""From a token's ticket to what it is worth now: user, scope, roles. All is looked up anew; token.py caches it."""

import time
from dataclasses import dataclass
from typing import Any

import msgspec

from hagane.api.http import Caller
from hagane.identity.access_rule import access_rules_of
from hagane.identity.application_credential import ApplicationCredential
from hagane.identity.assignment import SYSTEM, Kind, roles_of
from hagane.identity.base import role_part
from hagane.identity.oauth_store import ACCESS_TOKEN
from hagane.identity.revocation import is_revoked
from hagane.identity.role_pick import with_implied
from hagane.identity.ticket import Ticket, iso, scoped, subjects
from hagane.identity.trust_load import Broken, Delegation, delegation
from hagane.state import clock
from hagane.state.database import Reader, Row

_encode = msgspec.json.Encoder().encode

PRIMARY = {"password", "token", "totp", "external", "mapped"}
"""Methods by which users prove who they are themselves. Tokens of any other kind give less than their user has."""
_USER = """SELECT u.id, u.name, u.enabled, u.password_hash, u.password_expires_at, u.default_project_id, u.options,
u.failed_logins, u.failed_at,
d.id AS domain_id, d.name AS domain_name, d.enabled AS domain_enabled
FROM identity_user u JOIN identity_project d ON d.id = u.domain_id WHERE u.id = :id"""
_PROJECT = """SELECT p.id, p.name, p.enabled, p.is_domain, d.id AS domain_id, d.name AS domain_name,
COALESCE(d.enabled, 1) AS domain_enabled
FROM identity_project p LEFT JOIN identity_project d ON d.id = p.domain_id WHERE p.id = :id"""


class Worthless(Exception):
    """A token that does not, or not any more, stand for anybody. `why` is for the log, the text for the caller."""

    def __init__(self, why: str, text: str = "Failed to validate token") -> None:
        super().__init__(text)
        self.why = why


class Withdrawn(Worthless):
    """The trust that a token is of does not give what it says any more."""


@dataclass(slots=True)
class Token:
    """A valid token: what handlers ask for (`caller`), what is answered (`body`, without the catalog)."""

    text: str
    ticket: Ticket
    caller: Caller
    body: bytes
    access_rules: list[Row] | None = None
    subjects: tuple[str, ...] = ()  # whose end or change ends what is known of it


async def user_of(reader: Reader, user_id: str) -> Row | None:
    rows = await reader.fetch(_USER, {"id": user_id})
    return rows[0] if rows else None


async def load(reader: Reader, text: str, ticket: Ticket, *, grace: float = 0.0) -> Token:
    """What the ticket is worth. `grace` lets a token that expired so many seconds ago pass. Raises Worthless."""
    if ticket.expires_at + grace <= time.time():
        raise Worthless("The token has expired")
    user = await user_of(reader, ticket.user_id)
    if user is None or not user["enabled"] or not user["domain_enabled"]:
        raise Worthless("The user or its domain is disabled or gone")
    given = await _trust(reader, ticket)
    acting = given.trustor if given is not None and given.trust["impersonation"] else user
    view = _user_part(ticket, acting)
    scope = await _scope(reader, ticket, view)
    domains = {user["domain_id"], acting["domain_id"], scope.get("domain_id") or user["domain_id"]}
    ends = (*subjects(ticket), *(given.subjects if given else ()))
    if await is_revoked(reader, [*ends, *domains], ticket.issued_at):
        raise Worthless("The token has been revoked")
    roles: list[tuple[str, str]] = []
    credential = await _credential(reader, ticket)
    access = await _access(reader, ticket)
    if given is not None:
        view["OS-TRUST:trust"] = given.part
        view["roles"] = [role_part(row) for row in given.roles]
        view.pop("is_domain", None)
        roles = [(row["id"], row["name"]) for row in given.roles]
    elif scoped(ticket):
        roles = await roles_of(reader, ticket.user_id, *_target(ticket))
    if credential is not None:
        roles = [role for role in roles if role[0] in credential["role_ids"]]
        view["application_credential"] = _credential_part(credential)
    if access is not None:
        given_roles = await with_implied(reader, access["role_ids"])
        roles = [role for role in roles if role[0] in given_roles]
        view["OS-OAUTH1"] = {"access_token_id": access["id"], "consumer_id": access["consumer_id"]}
    if scoped(ticket):
        if not roles:
            raise Worthless(f"User {ticket.user_id} has no access to {_place(ticket)}")
        view.setdefault("roles", [{"id": role_id, "name": name} for role_id, name in roles])
    caller = _caller(ticket, acting, scope, roles, restricted=credential is not None and not credential["unrestricted"])
    rules = credential["access_rules"] if credential else None
    return Token(text, ticket, caller, _encode(view), rules, tuple(dict.fromkeys(ends)))


async def _trust(reader: Reader, ticket: Ticket) -> Delegation | None:
    if ticket.trust_id is None:
        return None
    try:
        return await delegation(reader, ticket.trust_id, ticket.user_id)
    except Broken as error:
        raise (Worthless if error.gone else Withdrawn)(str(error)) from error


def _user_part(ticket: Ticket, user: Row) -> dict[str, Any]:
    return {
        "methods": list(ticket.methods),
        "user": {
            "domain": {"id": user["domain_id"], "name": user["domain_name"]},
            "id": user["id"],
            "name": user["name"],
            "password_expires_at": user["password_expires_at"],
        },
        "audit_ids": list(ticket.audit_ids),
        "expires_at": iso(ticket.expires_at),
        "issued_at": iso(ticket.issued_at),
    }


def _target(ticket: Ticket) -> tuple[Kind, str]:
    if ticket.system:
        return "system", SYSTEM
    if ticket.domain_id:
        return "domain", ticket.domain_id
    return "project", ticket.project_id or ""


def _place(ticket: Ticket) -> str:
    kind, target = _target(ticket)
    return "the system" if kind == "system" else f"{kind} {target}"


async def _scope(reader: Reader, ticket: Ticket, view: dict[str, Any]) -> Row:
    """Add the scope to the answer; the row of the project or domain. Raises Worthless when it is gone or disabled."""
    if ticket.system:
        view["system"] = {"all": True}
    wanted = ticket.project_id or ticket.domain_id
    if wanted is None:
        return {}
    rows = await reader.fetch(_PROJECT, {"id": wanted})
    if not rows or not rows[0]["enabled"] or not rows[0]["domain_enabled"]:
        raise Worthless(f"The {_place(ticket)} is disabled or gone")
    row = rows[0]
    if ticket.domain_id:
        view["domain"] = {"id": row["id"], "name": row["name"]}
        return row
    # A project that acts as a domain belongs to none; the answer names none either.
    view["project"] = {
        "domain": {"id": row["domain_id"], "name": row["domain_name"]},
        "id": row["id"],
        "name": row["name"],
    }
    view["is_domain"] = bool(row["is_domain"])
    return row


async def _credential(reader: Reader, ticket: Ticket) -> Row | None:
    if ticket.application_credential_id is None:
        return None
    row = await ApplicationCredential.table.get(reader, id=ticket.application_credential_id)
    if row is None or row["user_id"] != ticket.user_id:
        raise Worthless("The application credential is gone")
    if row["expires_at"] is not None and row["expires_at"] <= iso(time.time()).removesuffix("Z"):
        raise Worthless("The application credential has expired")
    row["access_rules"] = await access_rules_of(reader, row["access_rule_ids"])
    return row


async def _access(reader: Reader, ticket: Ticket) -> Row | None:
    if ticket.access_token_id is None:
        return None
    row = await ACCESS_TOKEN.get(reader, id=ticket.access_token_id, user_id=ticket.user_id)
    if row is None or row["project_id"] != ticket.project_id:
        raise Worthless("The access token is gone")
    if row["expires_at"] <= clock.now():
        raise Worthless("The access token has expired")
    return row


def _credential_part(row: Row) -> dict[str, Any]:
    part = {"id": row["id"], "name": row["name"], "restricted": not row["unrestricted"]}
    return part | ({"access_rules": row["access_rules"]} if row["access_rules"] else {})


def _caller(ticket: Ticket, user: Row, scope: Row, roles: list[tuple[str, str]], *, restricted: bool) -> Caller:
    project = scope if ticket.project_id else {}
    return Caller(
        user_id=user["id"],
        user_name=user["name"],
        user_domain_id=user["domain_id"],
        project_id=ticket.project_id,
        project_name=project.get("name", ""),
        project_domain_id=project.get("domain_id") or "",
        domain_id=ticket.domain_id,
        system=ticket.system,
        roles=frozenset(name for _, name in roles),
        role_ids=tuple(role_id for role_id, _ in roles),
        audit_id=ticket.audit_ids[0],
        expires_at=iso(ticket.expires_at),
        application_credential_id=ticket.application_credential_id,
        more={
            "restricted": restricted,
            "delegated": not set(ticket.methods) <= PRIMARY,
            "trust_id": ticket.trust_id,
        },
    )
