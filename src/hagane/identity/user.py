"""Users of the Identity API."""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Custom, Str
from hagane.identity.base import NAME, V3, IdentityResource


class User(IdentityResource):
    """A user. The password is kept as a hash and is never answered."""

    name, plural = "user", "users"
    path = f"{V3}/users"
    table_name = "identity_user"
    indexes = ("unique domain_id, name",)
    flags = ("name", "enabled", "domain_id")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", NAME, write="cu", default=REQUIRED),
        Attr("domain_id", Str(64), write="c"),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("default_project_id", Str(64, nullable=True), write="cu"),
        Attr("password_hash", Str(), shown=False),
        Attr("password_expires_at", Str()),
        Attr("options", Custom(), write="cu", default=dict),
        Attr("extra", Custom(), default=dict, shown=False),
    )
