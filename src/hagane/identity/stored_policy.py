"""Policies that services keep here for themselves: any text, with its media type. This cloud's own rules are files.

https://docs.openstack.org/api-ref/identity/v3/#policies
"""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Custom, Str
from hagane.identity.base import V3, IdentityResource


class StoredPolicy(IdentityResource):
    """A text that an administrator keeps."""

    name, plural = "policy", "policies"
    path = f"{V3}/policies"
    table_name = "identity_policy"
    flags = ("type",)
    attrs = (
        Attr("id", Str(), key=True),
        Attr("type", Str(255), write="cu", default=REQUIRED),
        Attr("blob", Str(65535), write="cu", default=REQUIRED),
        Attr("extra", Custom(), default=dict, shown=False),
    )
