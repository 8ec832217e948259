"""Prometheus metrics. Labels are route templates, never ids, so their number is bounded."""

import contextlib
import time
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from hagane.api.service import Route
from hagane.errors import Unavailable

if TYPE_CHECKING:
    from hagane.api.http import Request, Response

REQUESTS = Histogram(
    "hagane_request_seconds",
    "Time to answer a request",
    ["service", "method", "route", "status"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
)
WORK = Histogram(
    "hagane_work_seconds", "Time of one reconciling", ["kind", "outcome"], buckets=(0.001, 0.01, 0.1, 1, 10, 60)
)
BACKLOG = Gauge("hagane_work_due", "Keys that are due to be reconciled, or being reconciled", ["kind"])
RETRIES = Counter("hagane_work_retries_total", "Reconcilings that have to be tried again", ["kind"])

_children: dict[tuple[str, str, str, int], object] = {}


def observe(request: "Request", status: int, seconds: float) -> None:
    """Count one answered request."""
    route = getattr(request, "route", None)
    key = (request.service.type, request.method, route.path if route else "", status)
    child = _children.get(key)
    if child is None:
        child = _children[key] = REQUESTS.labels(key[0], key[1], key[2], str(status))
    child.observe(seconds)  # type: ignore[attr-defined]


_DUE = "SELECT kind, count(*) FROM work WHERE due <= :now GROUP BY kind"


async def handler(request: "Request") -> "Response":
    from hagane.api.http import Response

    BACKLOG.clear()
    with contextlib.suppress(Unavailable):  # what this process knows itself is told in any case
        for kind, count in await request.cloud.db.fetch_tuples(_DUE, {"now": time.time()}):
            BACKLOG.labels(kind).set(count)
    return Response(200, generate_latest(), media_type=CONTENT_TYPE_LATEST)


ROUTE = Route("GET", "/metrics", handler, "metrics", auth=False)
