"""Resource providers that are no Hosts: bare-metal Nodes. Whoever has them provides `Outside`; here they look like rows
of Hosts and of their inventory, so that every list and query treats both alike."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hagane.cloud import Cloud
from hagane.placement.host import HOST, all_hosts
from hagane.placement.inventory import ALLOCATION, INVENTORY, usages
from hagane.state.database import Reader, Row

Inventories = dict[str, dict[str, Row]]


@dataclass
class Providers:
    """`hosts` in the columns of the table host, with `traits` added where they are not those of Hosts; `inventories`
    and `allocations` in those of their tables."""

    hosts: list[Row] = field(default_factory=list)
    inventories: Inventories = field(default_factory=dict)
    allocations: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Outside:
    """All of them, or the one of an id, or those that a consumer or a project uses."""

    read: Callable[..., Awaitable[Providers]]  # (reader, id=, consumer=, project=)


async def _outside(cloud: Cloud, reader: Reader, **only: str) -> Providers:
    return await cloud.use(Outside).read(reader, **only) if cloud.has(Outside) else Providers()


async def all_providers(cloud: Cloud, reader: Reader) -> tuple[list[Row], Inventories]:
    """Every provider and what it has."""
    more = await _outside(cloud, reader)
    return [*await all_hosts(reader), *more.hosts], await usages(reader) | more.inventories


async def provider(cloud: Cloud, reader: Reader, key: str) -> tuple[Row, dict[str, Row]] | None:
    """One provider and what it has."""
    host = await HOST.get(reader, id=key)
    if host is not None:
        rows = await INVENTORY.select(reader, {"provider_id": key})
        return host, {row["resource_class"]: row for row in rows}
    more = await _outside(cloud, reader, id=key)
    return (more.hosts[0], more.inventories[key]) if more.hosts else None


async def held(cloud: Cloud, reader: Reader, *, provider_id: str = "", consumer: str = "", project: str = "",
               user: str = "") -> tuple[list[Row], dict[str, Row]]:  # fmt: skip
    """Allocations by provider, consumer or project, and the providers that they are of."""
    where = {name: value for name, value in (("provider_id", provider_id), ("consumer_id", consumer),
                                             ("project_id", project), ("user_id", user)) if value}  # fmt: skip
    rows = await ALLOCATION.select(reader, where)
    ids = list({row["provider_id"] for row in rows})
    hosts = {row["id"]: row for row in await HOST.select(reader, {"id": ids})} if ids else {}
    more = await _outside(cloud, reader, id=provider_id, consumer=consumer, project=project)
    rows += [row for row in more.allocations if not user or row["user_id"] == user]
    return rows, hosts | {row["id"]: row for row in more.hosts}
