"""Secrets of a Node (BMC passwords, config drives, the agent's token): encrypted at rest, starred out wherever shown.

The row's `driver_info` and `instance_info` hold stars in place of secrets; the whole originals, where they hold any,
are one encrypted document in the column `secrets`. So a list of Nodes decrypts nothing.
"""

from typing import Any

import msgspec

from hagane.state.database import Row
from hagane.state.secret import Secrets

STARS = "******"
PARTS = ("driver_info", "instance_info")
_WORDS = ("password", "adminpass", "admin_pass", "new_pass", "sys_pswd", "passphrase", "secret", "token", "configdrive",
          "private_key", "encrypted_key", "sslkey", "fernetkey", "snmp_auth_key", "snmp_priv_key")  # fmt: skip
_ALSO = {"driver_info": (), "instance_info": ("image_url",)}


def secret(key: str, also: tuple[str, ...] = ()) -> bool:
    """Whether a key's value is one to hide."""
    low = key.lower()
    return low in also or any(word in low for word in _WORDS)


def masked(value: Any, also: tuple[str, ...] = ()) -> Any:
    """A copy with stars for what is secret, at any depth."""
    if isinstance(value, dict):
        return {
            key: STARS if entry and secret(key, also) else masked(entry, also)
            for key, entry in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [masked(entry, also) for entry in value]
    return value


def opened(secrets: Secrets, row: Row) -> dict[str, Any]:
    """Everything that the row hides: whole `driver_info`, whole `instance_info`, `agent_token`. A column that was not
    read is as an empty one."""
    kept: dict[str, Any] = msgspec.json.decode(secrets.decrypt(row["secrets"])) if row.get("secrets") else {}
    return {part: row.get(part) or {} for part in PARTS} | kept


def sealed(secrets: Secrets, row: Row, changes: Row, **more: Any) -> Row:
    """`changes` with stars in place of secrets, and the column that keeps them. None in `more` forgets it."""
    if not more and not changes.keys() & set(PARTS):
        return changes
    kept: dict[str, Any] = msgspec.json.decode(secrets.decrypt(row["secrets"])) if row.get("secrets") else {}
    for part in PARTS:
        if part not in changes:
            continue
        kept.pop(part, None)
        shown = masked(changes[part], _ALSO[part])
        if shown != changes[part]:
            kept[part] = changes[part]
        changes[part] = shown
    kept = {key: value for key, value in (kept | more).items() if value is not None}
    changes["secrets"] = secrets.encrypt(msgspec.json.encode(kept).decode()) if kept else ""
    return changes
