"""Rows of network flavors: what a project may choose of a service, and by which of its drivers that is done.

Routers are the one service that has flavors, and OVN the one driver of them: so a flavor is a name that an operator
gives to routers, and may be taken out of use.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import BadValue
from hagane.network.attr import UNSET
from hagane.network.errors import error
from hagane.network.value import Checked, Flag, Id, Text, ids
from hagane.state.database import Reader
from hagane.state.table import Column, Table

L3 = "L3_ROUTER_NAT"
SERVICES = (L3, "FLAVORS", "QOS", "TRUNK", "PORTFORWARDING")
DRIVERS = {"neutron.services.ovn_l3.service_providers.ovn.OvnDriver": "ovn"}
"""The name that clients know OVN's driver by -> its provider, as /service-providers tells it."""


def _service(field: str, value: Any) -> str:
    if value not in SERVICES:
        raise BadValue(field, value, f"No plugin for service type '{value}'")
    return str(value)


_OWNER = (
    Attr("project_id", Text(255), write="c", default=UNSET, shown=False, filter=False, sort=False),
    Attr("tenant_id", Text(255), write="c", default=UNSET, stored=False, shown=False, filter=False, sort=False),
)
FLAVOR_ATTRS = (
    Attr("id", Id(), key=True),
    *_OWNER,
    Attr("name", Text(255), write="cu", default=""),
    Attr("description", Text(1024), write="cu", default=""),
    Attr("service_type", Checked(rule=_service, kind="text", json_schema=(("enum", list(SERVICES)),)), write="c",
         default=REQUIRED),
    Attr("enabled", Flag(), write="cu", default=True),
    Attr("service_profiles", Checked(rule=ids), write="c", default=list, stored=False, filter=False, sort=False),
)  # fmt: skip
PROFILE_ATTRS = (
    Attr("id", Id(), key=True),
    *_OWNER,
    Attr("description", Text(1024), write="cu", default=""),
    Attr("driver", Text(1024), write="cu", default=""),
    Attr("metainfo", Text(4096), write="cu", default="", filter=False),
    Attr("enabled", Flag(), write="cu", default=True),
    Attr("flavors", Checked(), stored=False, filter=False, sort=False),
)
FLAVOR = Table("network_flavor", tuple(Column(a.name, a.type.column, a.key) for a in FLAVOR_ATTRS if a.stored))
PROFILE = Table("service_profile", tuple(Column(a.name, a.type.column, a.key) for a in PROFILE_ATTRS if a.stored))
BOUND = Table(
    "flavor_service_profile", (Column("flavor_id", key=True), Column("profile_id", key=True)), ("profile_id",)
)


async def bound(reader: Reader, column: str, keys: Sequence[str]) -> dict[str, list[str]]:
    """The other end of what is bound to these, each in order."""
    other = "profile_id" if column == "flavor_id" else "flavor_id"
    found: dict[str, list[str]] = defaultdict(list)
    for row in await BOUND.select(reader, {column: list(keys)}, order=other) if keys else []:
        found[row[column]].append(row[other])
    return found


async def provider(reader: Reader, flavor_id: str) -> dict[str, str]:
    """Driver and provider of a flavor's first profile. Raises the errors of those who choose it."""
    profiles = (await bound(reader, "flavor_id", [flavor_id]))[flavor_id]
    if not profiles:
        raise error("FlavorServiceProfileBindingNotFound", id="", flavor_id=flavor_id)
    profile = await PROFILE.get(reader, id=profiles[0])
    if profile is None or not profile["enabled"]:
        raise error("ServiceProfileDisabled")
    check_driver(profile["driver"])
    return {"driver": profile["driver"], "provider": DRIVERS[profile["driver"]]}


def check_driver(driver: str) -> None:
    """Raises ServiceProfileDriverNotFound."""
    if driver not in DRIVERS:
        raise error("ServiceProfileDriverNotFound", driver=driver)


async def check_router(reader: Reader, flavor_id: str) -> None:
    """Whether a router may be made in this flavor. Raises FlavorNotFound, FlavorDisabled and others."""
    flavor = await FLAVOR.get(reader, id=flavor_id)
    if flavor is None:
        raise error("FlavorNotFound", id=flavor_id)
    if flavor["service_type"] != L3:
        raise error("InvalidServiceType", service_type=flavor["service_type"])
    if not flavor["enabled"]:
        raise error("FlavorDisabled")
    await provider(reader, flavor_id)
