"""Regions, services and endpoints: the catalog that clients find the other APIs by."""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Custom, Enum, Str
from hagane.identity.base import NAME, V3, IdentityResource


class Region(IdentityResource):
    """A region. Its id may be chosen by the caller and is its name."""

    name, plural = "region", "regions"
    path = f"{V3}/regions"
    table_name = "identity_region"
    flags = ("parent_region_id",)
    attrs = (
        Attr("id", Str(255, nullable=True), write="c", key=True),
        Attr("description", Str(None, nullable=True), write="cu", default=""),
        Attr("parent_region_id", Str(255, nullable=True), write="cu"),
        Attr("extra", Custom(), default=dict, shown=False),
    )


class CatalogService(IdentityResource):
    """A service: one of the APIs."""

    name, plural = "service", "services"
    path = f"{V3}/services"
    table_name = "identity_service"
    flags = ("type", "name")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("type", Str(255, min=1), write="cu", default=REQUIRED),
        Attr("name", NAME, write="cu"),
        Attr("description", Str(None, nullable=True), write="cu"),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("extra", Custom(), default=dict, shown=False),
    )


class Endpoint(IdentityResource):
    """Where a service is reached in a region, by whom (`interface`)."""

    name, plural = "endpoint", "endpoints"
    path = f"{V3}/endpoints"
    table_name = "identity_endpoint"
    indexes = ("service_id", "region_id")
    flags = ("interface", "service_id", "region_id")
    attrs = (
        Attr("id", Str(), key=True),
        Attr("interface", Enum(values=("admin", "internal", "public")), write="cu", default=REQUIRED),
        Attr("service_id", Str(64), write="cu", default=REQUIRED),
        Attr("region_id", Str(255, nullable=True), write="cu"),
        Attr("url", Str(2000, min=1), write="cu", default=REQUIRED),
        Attr("enabled", Bool(loose=True), write="cu", default=True),
        Attr("extra", Custom(), default=dict, shown=False),
    )
