"""What a domain demands of its users and their passwords (the group security_compliance of domain_config.py).

    set by an administrator ──▶ [must be changed at first use] ──▶ changed by its user ──▶ expired ──▶ changed ...
                                                       not too soon, not like one of the last ones

Whoever gives a wrong password so often in a row is locked out for a while, even with the right one. Users' options
(ignore_...) exempt them from the one or the other.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec

from hagane.errors import Invalid
from hagane.identity.domain_config import check_password, compliance_of
from hagane.identity.password import Passwords
from hagane.state import clock
from hagane.state.database import Database, Reader, Row, Tx
from hagane.state.table import Column, Table

HISTORY = Table(
    "identity_password",
    (
        Column("id", key=True),
        Column("user_id"),
        Column("password_hash"),
        Column("own", "bool"),  # set by the user, not by an administrator
        Column("created_at"),
    ),
    ("user_id, created_at",),
)
DAY = 86_400.0
_FAILED = "UPDATE identity_user SET failed_logins = COALESCE(failed_logins, 0) + 1, failed_at = :now WHERE id = :id"
_FIRST = "UPDATE identity_user SET failed_logins = 1, failed_at = :now WHERE id = :id"
_NONE = "UPDATE identity_user SET failed_logins = 0 WHERE id = :id"


async def change(tx: Tx, user: Row, hashed: str | None, *, own: bool) -> Row:
    """The changes of a user who gets a new password, which is remembered where its domain asks for that."""
    rules = await compliance_of(tx, user["domain_id"])
    if hashed is not None and (rules["unique_last_password_count"] or rules["minimum_password_age"]):
        await _remember(tx, rules, user["id"], hashed, own=own)
    return {"password_hash": hashed, "password_expires_at": _expiry(rules, user["options"] or {}, own=own)}


def _expiry(rules: Mapping[str, Any], options: Mapping[str, Any], *, own: bool) -> str | None:
    first = rules["change_password_upon_first_use"] and not options.get("ignore_change_password_upon_first_use")
    if first and not own:
        return clock.now()
    if rules["password_expires_days"] and not options.get("ignore_password_expiry"):
        return clock.after(rules["password_expires_days"] * DAY)
    return None


async def _remember(tx: Tx, rules: Mapping[str, Any], user_id: str, hashed: str, *, own: bool) -> None:
    row = {"id": str(uuid4()), "user_id": user_id, "password_hash": hashed, "own": own, "created_at": clock.now()}
    await HISTORY.insert(tx, row)
    rows = await HISTORY.select(tx, {"user_id": user_id}, order="created_at DESC, id")
    old = [row["id"] for row in rows[max(1, rules["unique_last_password_count"] or 0) :]]
    await HISTORY.delete(tx, {"id": old})


async def check_own(reader: Reader, passwords: Passwords, user: Row, password: str) -> None:
    """Whether a user may take this password now. Raises Invalid."""
    await check_password(reader, user["domain_id"], password)
    rules = await compliance_of(reader, user["domain_id"])
    rows = await HISTORY.select(reader, {"user_id": user["id"]}, order="created_at DESC, id")
    age = (rules["minimum_password_age"] or 0) * DAY
    if age and rows and rows[0]["own"] and (left := clock.seconds(rows[0]["created_at"]) + age - clock.wall()) > 0:
        raise Invalid(
            "You cannot change your password at this time due to the minimum password age. Once you change your"
            f" password, it must be used for {rules['minimum_password_age']} day(s) before it can be changed. Please"
            f" try again in {int(left // DAY)} day(s) or contact your administrator to reset your password.",
            code="PasswordAge",
        )
    unique = rules["unique_last_password_count"] or 0
    known = list(dict.fromkeys([user["password_hash"], *(row["password_hash"] for row in rows)]))[:unique]
    for hashed in known:
        if await passwords.verify(password, hashed):
            raise Invalid(
                "The new password cannot be identical to a previous password. The total number which includes the new"
                f" password must be unique is {unique}.", code="PasswordHistory",
            )  # fmt: skip


async def count(db: Database, user: Row, *, right: bool) -> bool:
    """Note how a login by password went; whether the user is locked out."""
    rules = await compliance_of(db, user["domain_id"])
    most, failed = rules["lockout_failure_attempts"], user["failed_logins"] or 0
    options = msgspec.json.decode(user["options"]) if isinstance(user["options"], str) else user["options"] or {}
    if not most or options.get("ignore_lockout_failure_attempts"):
        return False
    over = failed >= most and clock.seconds(user["failed_at"]) + rules["lockout_duration"] <= clock.wall()
    if failed >= most and not over:
        return True
    if not right or failed:
        statement = _NONE if right else _FIRST if over else _FAILED
        values = {"id": user["id"]} | ({} if right else {"now": clock.now()})
        await db.write(lambda tx: tx.execute(statement, values))
    return False
