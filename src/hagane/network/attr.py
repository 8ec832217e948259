"""What nearly every resource of the network API declares."""

from collections.abc import Callable
from typing import Any

from hagane.api.http import Request
from hagane.api.resource import Attr
from hagane.network import tag
from hagane.network.value import Checked, Id, Text, Whole
from hagane.state.table import Sql

ROOT = "/network/v2.0"
UNSET: Any = object()
"""The default of an attribute that has none and need not be given: the row lacks it until a hook decides."""

Special = Callable[[Any, Request, list[str]], list[Sql]]
Given = frozenset[str]
"""Names of the attributes that a caller set to something else than their default."""


def standard(*, name: bool = True, tags: str = "u", description: int = 255) -> tuple[Attr, ...]:
    """The attributes that nearly every resource has. The revision number is the row's generation.

    `tags`: "c" they may be given on creation; "u" they have routes of their own only; "" it has none.
    """
    own = (Attr("name", Text(255), write="cu", default=""),) if name else ()
    tag_type = Checked(rule=lambda field, value: tag.check_all(value))
    kept = Attr("tags", tag_type, write=tags.replace("u", ""), default=list, rule=True, filter=False, sort=False)
    return (
        Attr("id", Id(), key=True),
        *own,
        Attr("project_id", Text(255), write="c", default=UNSET),
        Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False),
        Attr("description", Text(description), write="cu", default=""),
        *((kept,) if tags else ()),
        Attr("generation", Whole(), wire="revision_number"),
        Attr("created_at", Text(), filter=False),
        Attr("updated_at", Text(), filter=False),
    )
