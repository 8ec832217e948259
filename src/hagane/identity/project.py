"""Projects and the rows of domains: a domain is a project that is the root of its tree (`is_domain`).

    domain (parent none) ──▶ project ──▶ project ...        parent_id names the row above; the root is the domain

So a walk along `parent_id` ends at the domain, and inherited assignments are found by one walk up.
"""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Custom, ListOf, Str
from hagane.identity.base import SHORT_NAME, V3, IdentityResource

TAG = Str(255, min=1, pattern=r"^[^,/]*\Z")
TAGS = ListOf(item=TAG, max=80, unique=True)
ROOT = ""
"""The domain_id that rows of domains keep, so that their names are unique as well; answered as null."""


class Project(IdentityResource):
    """A project. Its domain is fixed, and so is its place in the tree."""

    name, plural = "project", "projects"
    path = f"{V3}/projects"
    table_name = "identity_project"
    indexes = ("unique domain_id, name", "parent_id", "is_domain")
    flags = ("name", "enabled", "domain_id", "parent_id", "is_domain")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("name", SHORT_NAME, write="cu", default=REQUIRED),
        Attr("domain_id", Str(64, nullable=True), write="c"),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("parent_id", Str(64, nullable=True), write="c"),
        Attr("is_domain", Bool(loose=True), write="c", default=False),
        Attr("tags", TAGS, write="cu", default=list),
        Attr("options", Custom(), write="cu", default=dict),
        Attr("extra", Custom(), default=dict, shown=False),
    )
