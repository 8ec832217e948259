"""Roles, and which role implies which."""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Custom, Str
from hagane.identity.base import NAME, V3, IdentityResource
from hagane.state.table import Column, Table

IMPLIED = Table(
    "identity_implied_role", (Column("prior_id", key=True), Column("implied_id", key=True)), ("implied_id",)
)
GLOBAL = ""
"""The domain_id that rows of global roles keep; answered as null."""


class Role(IdentityResource):
    """A role; with a domain it can be given only there, and shows in no token: it stands for what it implies."""

    name, plural = "role", "roles"
    path = f"{V3}/roles"
    table_name = "identity_role"
    indexes = ("unique domain_id, name",)
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", NAME, write="cu", default=REQUIRED),
        Attr("domain_id", Str(64, nullable=True), write="c"),
        Attr("description", Str(None, nullable=True), write="cu"),
        Attr("options", Custom(), write="cu", default=dict),
        Attr("extra", Custom(), default=dict, shown=False),
    )
