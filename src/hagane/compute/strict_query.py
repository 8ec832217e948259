"""Query strings that have a field which nobody knows: refused, in the microversions from which on they are.

Lists of Servers have filters of their own (server_filter.py). What is not here takes any query, as ever.
"""

from dataclasses import dataclass, replace

from hagane.api.http import Request, Response
from hagane.api.service import Route
from hagane.compute.base import at
from hagane.errors import Invalid

PAGE, WINDOW, USER, SINCE = "limit marker", "limit offset", "user_id", "changes-since"


@dataclass(frozen=True)
class Strict:
    """The microversion from which on a route is strict, what it takes, and what it takes besides from a later one."""

    since: int = 102
    takes: str = ""
    later: tuple[tuple[int, str], ...] = ()

    def known(self, minor: int) -> set[str]:
        return {*self.takes.split(), *(name for since, more in self.later if minor >= since for name in more.split())}


_FLAVORS = Strict(75, f"{PAGE} is_public minRam minDisk sort_key sort_dir", ((102, "name"),))
_HYPERVISORS = Strict(53, f"{PAGE} hypervisor_hostname_pattern with_servers")
_USER = Strict(75, USER)
_MIGRATIONS = f"hidden host instance_uuid source_compute status migration_type {PAGE} {SINCE}"
_KNOWN = {
    "flavor:list": _FLAVORS, "flavor:detail": _FLAVORS,
    "hypervisor:list": _HYPERVISORS, "hypervisor:detail": _HYPERVISORS, "hypervisor:show": Strict(53, "with_servers"),
    "instance_action:list": Strict(58, f"{PAGE} {SINCE}", ((66, "changes-before"),)),
    "keypair:list": Strict(75, f"{USER} {PAGE}"), "keypair:show": _USER, "keypair:delete": _USER,
    "limits:list": Strict(75, "tenant_id"),
    "migration:list": Strict(59, _MIGRATIONS, ((66, "changes-before"), (80, "user_id project_id"))),
    "quota_set:show": _USER, "quota_set:detail": _USER, "quota_set:update": _USER, "quota_set:delete": _USER,
    "server_group:list": Strict(75, f"all_projects {WINDOW}"),
    "server_volume:list": Strict(75, WINDOW),
    "service:list": Strict(75, "host binary"),
    "tenant_usage:list": Strict(75, f"start end detailed {PAGE}"),
    "tenant_usage:show": Strict(75, f"start end {PAGE}"),
    "console_token:show": Strict(99), "server_share:list": Strict(97), "server_share:show": Strict(97),
} | dict.fromkeys((
    "aggregate:list", "aggregate:show", "extension:list", "extension:show", "flavor:show", "flavor_access:list",
    "flavor_specs:list", "flavor_specs:show", "instance_action:show", "interface:list", "interface:show", "ips:list",
    "ips:show", "metadata:list", "metadata:show", "quota_class:show", "server:diagnostics", "server:show",
    "server_group:show", "server_migration:list", "server_migration:show", "server_password:show", "usage_audit:list",
    "usage_audit:show", "zone:list", "zone:detail",
), Strict())  # fmt: skip


def guard(route: Route) -> Route:
    """The route, its query looked at before anything else."""
    if route.name not in _KNOWN:
        return route
    strict, handler = _KNOWN[route.name], route.handler

    async def guarded(request: Request) -> Response:
        if request.args and at(request, strict.since):
            known = strict.known(request.version[1])
            _refuse([name for name in request.args if name not in known])
        return await handler(request)

    return replace(route, handler=guarded)


def _refuse(unknown: list[str]) -> None:
    if unknown:
        verb = "was" if len(unknown) == 1 else "were"
        names = ", ".join(map(repr, unknown))
        raise Invalid(f"Additional properties are not allowed ({names} {verb} unexpected)")
