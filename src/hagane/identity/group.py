"""Groups of users, and who is in them."""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Custom, Str
from hagane.identity.base import SHORT_NAME, V3, IdentityResource
from hagane.state.table import Column, Table

MEMBER = Table("identity_member", (Column("user_id", key=True), Column("group_id", key=True)), ("group_id",))


class Group(IdentityResource):
    """A group."""

    name, plural = "group", "groups"
    path = f"{V3}/groups"
    table_name = "identity_group"
    indexes = ("unique domain_id, name",)
    flags = ("name", "domain_id")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", SHORT_NAME, write="cu", default=REQUIRED),
        Attr("domain_id", Str(64), write="c"),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("extra", Custom(), default=dict, shown=False),
    )
