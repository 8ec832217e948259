"""The first administrator, the roles and the catalog. Run at every start: it makes what is missing.

It changes nothing that is there, but for the URLs of endpoints that it made itself: they follow the configured address.
"""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid4, uuid5

from hagane.cloud import Cloud
from hagane.identity.assignment import ASSIGNMENT, SYSTEM
from hagane.identity.base import CHANGED, put
from hagane.identity.catalog import CatalogService, Endpoint, Region
from hagane.identity.password import Passwords
from hagane.identity.project import ROOT, Project
from hagane.identity.role import GLOBAL, IMPLIED, Role
from hagane.identity.user import User
from hagane.state.database import Row, Tx
from hagane.state.table import Table

DEFAULT_DOMAIN = "default"
ADMIN = "admin"
ROLES = ("admin", "manager", "member", "reader", "service")
IMPLICATIONS = (("admin", "manager"), ("manager", "member"), ("member", "reader"))


async def bootstrap(
    cloud: Cloud, admin_password: str, url: str, services: Sequence[tuple[str, str, str]], *, region: str = ""
) -> None:
    """Make what is missing. `url` is the origin that clients use; `services` are (type, name, path) of every API."""
    # Hashed before the transaction, which must not wait, and only where there is no administrator yet.
    known = await User.table.get(cloud.db, name=ADMIN, domain_id=DEFAULT_DOMAIN)
    hashed = known["password_hash"] if known else await cloud.use(Passwords).hash(admin_password)

    async def work(tx: Tx) -> None:
        await _domain(tx)
        project = await _named(
            tx,
            Project.table,
            {"name": ADMIN, "domain_id": DEFAULT_DOMAIN},
            _project("Bootstrap project for initializing the cloud."),
        )
        await _named(tx, Project.table, {"name": "service", "domain_id": DEFAULT_DOMAIN}, _project(""))
        user = await _named(
            tx, User.table, {"name": ADMIN, "domain_id": DEFAULT_DOMAIN},
            {"enabled": True, "password_hash": hashed, "options": {}, "extra": {}},
        )  # fmt: skip
        roles = await _roles(tx)
        for kind, target in (("project", project["id"]), ("system", SYSTEM)):
            await _grant(tx, user["id"], kind, target, roles["admin"])
        await _catalog(tx, url.rstrip("/"), services, region or cloud.config.region)
        tx.notify(CHANGED)

    await put(cloud.db, work)


def _project(description: str) -> Row:
    return {"description": description, "enabled": True, "parent_id": DEFAULT_DOMAIN, "is_domain": False, "tags": [],
            "options": {}, "extra": {}}  # fmt: skip


async def _named(tx: Tx, table: Table, key: Row, rest: Row) -> Row:
    """The row of a name, made if it is missing."""
    row = await table.get(tx, **key)
    if row is None:
        row = {"id": uuid4().hex} | key | rest
        await table.insert(tx, row)
    return row


async def _domain(tx: Tx) -> None:
    if await Project.table.get(tx, id=DEFAULT_DOMAIN) is None:
        row = {"id": DEFAULT_DOMAIN, "name": "Default", "domain_id": ROOT, "is_domain": True, "parent_id": None}
        await Project.table.insert(tx, _project("The default domain") | row)


async def _roles(tx: Tx) -> dict[str, str]:
    """name -> id of the standard roles, with what they imply."""
    ids = {}
    for name in ROLES:
        role = await _named(
            tx, Role.table, {"name": name, "domain_id": GLOBAL}, {"options": {"immutable": True}, "extra": {}}
        )
        ids[name] = role["id"]
    for prior, implied in IMPLICATIONS:
        pair = {"prior_id": ids[prior], "implied_id": ids[implied]}
        if await IMPLIED.get(tx, **pair) is None:
            await IMPLIED.insert(tx, pair)
    return ids


async def _grant(tx: Tx, user_id: str, kind: str, target: str, role: str) -> None:
    row = {"actor_id": user_id, "kind": kind, "target_id": target, "role_id": role, "inherited": False}
    if await ASSIGNMENT.get(tx, **row) is None:
        await ASSIGNMENT.insert(tx, row | {"actor_kind": "user"})


async def _catalog(tx: Tx, url: str, services: Sequence[tuple[str, str, str]], region: str) -> None:
    """Services and endpoints. Endpoints of our own making are known by their ids, and follow the configured address."""
    if await Region.table.get(tx, id=region) is None:
        await Region.table.insert(tx, {"id": region, "description": "", "extra": {}})
    for kind, name, path in services:
        service = await _named(tx, CatalogService.table, {"type": kind, "name": name}, {"enabled": True, "extra": {}})
        for interface in ("public", "internal", "admin"):
            key = {"id": uuid5(NAMESPACE_URL, f"{region}/{kind}/{name}/{interface}").hex}
            row = await Endpoint.table.get(tx, **key)
            if row is None:
                rest = {"service_id": service["id"], "interface": interface, "region_id": region, "enabled": True}
                await Endpoint.table.insert(tx, key | rest | {"url": url + path, "extra": {}})
            elif row["url"] != url + path:
                await Endpoint.table.update(tx, key, {"url": url + path})
