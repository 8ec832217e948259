"""GET /OS-REVOKE/events: what has ended before its time, for services that validate tokens by themselves.

Events are kept as long as a token may live that they end (revocation.py), so whoever begins to listen needs no others.
"""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.errors import Invalid
from hagane.identity.base import V3, enforce
from hagane.identity.revocation import REVOCATION
from hagane.identity.ticket import iso
from hagane.state import clock
from hagane.state.database import Row
from hagane.state.table import Op

CHAIN = "chain:"


class RevokeEvents:
    """The list."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{V3}/OS-REVOKE/events", self.list, "revoke_event:list", rule="identity:list_revoke_events",
                  query=("since",)),
        ]  # fmt: skip

    async def list(self, request: Request) -> Response:
        enforce(request, "identity:list_revoke_events")
        where: dict[str, Any] = {"kind": Op("!=", "")}
        if since := request.args.get("since"):
            where["until"] = Op(">=", _seconds(since))
        rows = await REVOCATION.select(self.db, where, order="until")
        links = {"next": None, "self": f"{request.base_url}{request.path}", "previous": None}
        return json_response(200, {"events": [_event(row) for row in rows], "links": links})


def _seconds(text: str) -> float:
    try:
        return clock.seconds(clock.kept(text))
    except ValueError as error:
        raise Invalid(f"invalidate date format {text}") from error


def _event(row: Row) -> dict[str, Any]:
    subject, moment = row["subject"], iso(row["until"])
    times = {"issued_before": moment, "revoked_at": moment}
    if subject.startswith(CHAIN):
        return {"audit_chain_id": subject.removeprefix(CHAIN)} | times
    return {row["kind"]: subject} | times
