"""A Node's history: what was asked of it and what became of it, in words that its owner can read."""

from typing import Any
from uuid import uuid4

from hagane.api.http import Request, Response, json_response
from hagane.baremetal.base import at, boolean, integer, link, moment, query, require
from hagane.baremetal.node import Nodes
from hagane.baremetal.node_row import HISTORY
from hagane.errors import Invalid, NotFound
from hagane.state import clock
from hagane.state.database import Row, Tx

MOST = 1000


async def record(
    tx: Tx, node: Row, text: str, *, user: str | None = None, project: str | None = None, error: bool = False,
    duration: float | None = None,
) -> None:  # fmt: skip
    """Add a line. `duration` is in seconds, of what has just ended."""
    await HISTORY.insert(tx, {
        "id": str(uuid4()), "node_id": node["id"], "created_at": clock.now(), "event_type": "provisioning",
        "severity": "ERROR" if error else "INFO", "event": text, "user_id": user, "project_id": project,
        "state": node["provision_state"], "target": node["target_provision_state"], "duration": duration,
    })  # fmt: skip


class History:
    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    async def list(self, request: Request) -> Response:
        """Oldest first unless the query says otherwise."""
        require(request, 78)
        args = query(request, ("detail", "marker", "limit", "sort_key", "sort_dir"))
        node = await self.nodes.need(request, self.nodes.db, "history:get")
        detail = bool(boolean("detail", args.get("detail")))
        limit = integer("limit", args.get("limit"))
        if limit is not None and limit <= 0:
            raise Invalid("Limit must be positive")
        limit = min(limit or MOST, MOST)
        rows = await HISTORY.select(self.nodes.db, {"node_id": node["id"]}, order="created_at, id")
        if args.get("sort_dir") == "desc":
            rows.reverse()
        if (marker := args.get("marker")) is not None:
            places = [place for place, row in enumerate(rows) if row["id"] == marker]
            if not places:
                raise NotFound(f"Node history record {marker} could not be found.")
            rows = rows[places[0] + 1 :]
        shown = [_view(request, node["id"], row, detail=detail) for row in rows[:limit]]
        answer: dict[str, Any] = {"history": shown}
        if len(rows) > limit:
            answer["next"] = request.page_url(limit=limit, marker=rows[limit - 1]["id"])
        return json_response(200, answer)

    async def show(self, request: Request) -> Response:
        require(request, 78)
        node = await self.nodes.need(request, self.nodes.db, "history:get")
        row = await HISTORY.get(self.nodes.db, id=request.params["event"], node_id=node["id"])
        if row is None:
            raise NotFound(f"Node history record {request.params['event']} could not be found.")
        return json_response(200, _view(request, node["id"], row, detail=True))


def _view(request: Request, node: str, row: Row, *, detail: bool) -> dict[str, Any]:
    text = row["event"]
    view: dict[str, Any] = {
        "uuid": row["id"], "created_at": moment(row["created_at"]), "severity": row["severity"],
        "event": text if detail or len(text) <= 255 else text[:251] + "...",
    }  # fmt: skip
    if detail:
        view |= {"event_type": row["event_type"], "conductor": "hagane", "user": row["user_id"]}
        if at(request, 113):
            view["project"] = row["project_id"]
        if at(request, 115):
            view |= {"state": row["state"], "target_provision_state": row["target"],
                     "duration_seconds": row["duration"]}  # fmt: skip
    return view | {"links": [link(request, f"nodes/{node}/history/{row['id']}")]}
