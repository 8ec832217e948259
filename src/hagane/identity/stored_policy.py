"""Policies that services keep here for themselves: any text, with its media type. This cloud's own rules are files.

Which endpoint goes by which is endpoint_policy.py's.

https://docs.openstack.org/api-ref/identity/v3/#policies
"""

from hagane.api.http import Request
from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Custom, Str
from hagane.identity.base import V3, IdentityResource
from hagane.state.database import Row, Tx


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

    async def deleting(self, request: Request, tx: Tx, row: Row) -> None:
        await tx.execute("DELETE FROM identity_endpoint_policy WHERE policy_id = :id", {"id": row["id"]})
