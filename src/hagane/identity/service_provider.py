"""Service providers: other clouds that believe what this one says of its users. The enabled ones are told in tokens.

https://docs.openstack.org/api-ref/identity/v3-ext/#service-providers
"""

from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Str
from hagane.identity.base import CATALOG, V3
from hagane.identity.named import KEY, Named
from hagane.state.database import Row, Tx

RELAY_STATE = "ss:mem:"  # what the real service puts before the RelayState if it is told nothing else
_URL = Str(225, pattern=r"^[a-zA-Z0-9+.-]+:.+")


class ServiceProvider(Named):
    """Another cloud: where one logs in there (`auth_url`), and where it takes assertions (`sp_url`)."""

    name, plural = "service_provider", "service_providers"
    path = f"{V3}/OS-FEDERATION/service_providers"
    table_name = "identity_service_provider"
    kind = "Service Provider"
    flags = ("id", "enabled")
    attrs = (
        Attr("id", KEY, key=True),
        Attr("auth_url", _URL, write="cu", default=REQUIRED),
        Attr("sp_url", _URL, write="cu", default=REQUIRED),
        Attr("description", Str(None, nullable=True), write="cu"),
        Attr("enabled", Bool(loose=True), write="cu", default=False),
        Attr("relay_state_prefix", Str(256, nullable=True), write="cu", default=RELAY_STATE),
    )

    async def creating(self, request: Request, tx: Tx, row: Row) -> None:
        _complete(tx, row)

    async def updating(self, request: Request, tx: Tx, old: Row, changes: Row) -> None:
        _complete(tx, changes)

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        tx.notify(CATALOG)


def _complete(tx: Tx, row: dict[str, Any]) -> None:
    if "relay_state_prefix" in row and row["relay_state_prefix"] is None:
        row["relay_state_prefix"] = RELAY_STATE
    tx.notify(CATALOG)
