"""The filters `shared` and `router:external`, whose truth is in rows beside the filtered ones."""

from typing import Any

from hagane.api.http import Request
from hagane.network.attr import Special
from hagane.network.permit import shared_sql
from hagane.network.value import truth
from hagane.state.table import Sql


def _among(column: str, inner: str, request: Request, texts: list[str]) -> list[Sql]:
    """Whether a column is among some ids, as the filter's values say; both values restrict nothing."""
    wanted = {truth(text) for text in texts}
    if len(wanted) != 1:
        return []
    negation = "" if wanted == {True} else "NOT "
    return [Sql(f"{column} {negation}IN ({inner})", {"me": request.caller.project_id or ""})]


def by_shared(object_type: str, column: str) -> Special:
    """`shared`: whether the object in `column` is shared with the caller or with everyone."""
    inner = shared_sql(object_type)

    def condition(resource: Any, request: Request, texts: list[str]) -> list[Sql]:
        return _among(column, inner, request, texts)

    return condition


def by_external(resource: Any, request: Request, texts: list[str]) -> list[Sql]:
    """`router:external` of subnets."""
    return _among("subnet.network_id", "SELECT id FROM network WHERE router_external = 1", request, texts)
