"""What OAuth 1.0 needs kept: request tokens, access tokens, and which nonces have been used (RFC 5849, section 3.3)."""

import time

from hagane.identity.revocation import revoke
from hagane.state import clock
from hagane.state.database import Duplicate, Tx
from hagane.state.table import Column, Op, Table

DRIFT = 600  # seconds that a consumer's clock may differ from ours

_COLUMNS = (  # of a request token, `user_id` and `role_ids` are empty until somebody has authorized it
    Column("id", key=True),
    Column("encrypted_secret"),
    Column("user_id"),
    Column("role_ids", "json"),
    Column("project_id"),
    Column("consumer_id"),
    Column("expires_at"),
)
_INDEXES = ("consumer_id", "user_id", "project_id", "expires_at")
REQUEST_TOKEN = Table("identity_request_token", (*_COLUMNS, Column("encrypted_verifier")), _INDEXES)
ACCESS_TOKEN = Table("identity_access_token", _COLUMNS, _INDEXES)
NONCE = Table(
    "identity_oauth_nonce",
    (
        Column("consumer_id", key=True),
        Column("token_id", key=True),
        Column("timestamp", "int", key=True),
        Column("nonce", key=True),
    ),
    ("timestamp",),
)


class Replayed(Exception):
    """A signed request that has been here before."""


async def use_nonce(tx: Tx, consumer_id: str, token_id: str, timestamp: int, nonce: str) -> None:
    """Remember a right signature as long as it could come again. Raises Replayed, and then the work must end."""
    await NONCE.delete(tx, {"timestamp": Op("<", int(time.time()) - 2 * DRIFT)})
    key = {"consumer_id": consumer_id, "token_id": token_id, "timestamp": timestamp, "nonce": nonce}
    try:
        await NONCE.insert(tx, key)
    except Duplicate as error:
        raise Replayed from error


async def remove_access_tokens(tx: Tx, column: str, key: str) -> int:
    """Delete access tokens, as of a consumer; what was issued by them ends. Returns how many."""
    rows = await ACCESS_TOKEN.select(tx, {column: key}, columns=("id",))
    await ACCESS_TOKEN.delete(tx, {column: key})
    await revoke(tx, *(row["id"] for row in rows), kind="OS-OAUTH1:access_token_id")
    return len(rows)


async def purge_oauth(tx: Tx, grace: float) -> None:
    """Forget what expired more than so many seconds ago."""
    for table in (REQUEST_TOKEN, ACCESS_TOKEN):
        await table.delete(tx, {"expires_at": Op("<", clock.after(-grace))})
