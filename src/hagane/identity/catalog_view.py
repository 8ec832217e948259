"""The catalog as tokens carry it: every service with its endpoints, URLs filled in for the token's project.

A URL may hold $(project_id)s or %(tenant_id)s. Where none does, which is the rule here, the catalog is the same for all
and is encoded once. Projects that have endpoints of their own (endpoint_filter.py) have a catalog of their own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hagane.state.database import Reader, Row

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SLOT = re.compile(r"[$%]\((\w+)\)s")
_ROWS = """SELECT s.id, s.type, s.name, s.enabled, e.id, e.interface, e.region_id, e.url, e.enabled
FROM identity_service s LEFT JOIN identity_endpoint e ON e.service_id = s.id
ORDER BY s.type, s.id, e.region_id, e.interface"""
_FILTERED = """SELECT project_id FROM identity_project_endpoint
UNION SELECT project_id FROM identity_project_endpoint_group"""
_OWN = """SELECT endpoint_id, NULL FROM identity_project_endpoint WHERE project_id = :project
UNION ALL SELECT NULL, g.filters FROM identity_project_endpoint_group p
JOIN identity_endpoint_group g ON g.id = p.endpoint_group_id WHERE p.project_id = :project"""
_PROVIDERS = "SELECT id, auth_url, sp_url FROM identity_service_provider WHERE enabled = 1 ORDER BY id"
MOST = 1000  # catalogs of projects kept


def fillable(url: str) -> bool:
    """Whether a URL names nothing but what a token can fill in."""
    slots = _SLOT.findall(url)
    return set(slots) <= {"project_id", "tenant_id", "user_id"} and url.replace("%%", "").count("%") == len(
        re.findall(r"%\(\w+\)s", url)
    )


def fits(filters: Row, endpoint: Row) -> bool:
    """Whether an endpoint belongs to the group of these filters (endpoint_group.py)."""
    return all(endpoint[word] == value for word, value in filters.items())


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the store said: services with their endpoints, whether no URL has a slot, and who does not see all."""

    rows: Sequence[Sequence[Any]]
    same: bool
    filtered: frozenset[str]


class Catalog:
    """The catalog, kept until a change of it is told."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[tuple[str | None, str], bytes] = {}
        self._rows: _Rows | None = None
        self._providers: bytes | None = None
        self._epoch = 0

    def forget(self) -> None:
        self._epoch += 1
        self._kept.clear()
        self._rows = self._providers = None

    async def encoded(self, project_id: str | None, user_id: str) -> bytes:
        """The catalog of a project, as JSON."""
        epoch = self._epoch
        rows = self._rows or await self._read()
        own = project_id if not rows.same or project_id in rows.filtered else None
        key = own, "" if rows.same else user_id
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        seen = await self._seen(project_id, rows) if project_id in rows.filtered else None
        encoded = _encode(_entries(rows.rows, project_id, user_id, seen))
        if epoch == self._epoch:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._rows, self._kept[key] = rows, encoded
        return encoded

    async def providers(self) -> bytes:
        """The service providers that tokens name, as JSON; empty if there is none."""
        if self._providers is not None:
            return self._providers
        epoch = self._epoch
        rows = await self._reader.fetch(_PROVIDERS)
        encoded = _encode(rows) if rows else b""
        if epoch == self._epoch:
            self._providers = encoded
        return encoded

    async def _read(self) -> _Rows:
        rows = await self._reader.fetch_tuples(_ROWS)
        filtered = frozenset(row[0] for row in await self._reader.fetch_tuples(_FILTERED))
        same = not any(_SLOT.search(row[7]) for row in rows if row[3] and row[4] is not None and row[8])
        return _Rows(rows, same, filtered)

    async def _seen(self, project_id: str | None, rows: _Rows) -> set[str]:
        """Ids of the endpoints that the project is associated with. None at all: it sees every one."""
        found = await self._reader.fetch_tuples(_OWN, {"project": project_id})
        filters = [_decode(row[1]) for row in found if row[1] is not None]
        own = {row[0] for row in found if row[0] is not None}
        for row in rows.rows:
            endpoint = {"service_id": row[0], "interface": row[5], "region_id": row[6]}
            if row[4] is not None and any(fits(each, endpoint) for each in filters):
                own.add(row[4])
        return own


def _entries(
    rows: Sequence[Sequence[Any]], project_id: str | None, user_id: str, seen: set[str] | None
) -> list[dict[str, Any]]:
    """The services with their endpoints: those in `seen`, and then no service without one; if it is empty, all."""
    values = {"user_id": user_id} | ({"project_id": project_id, "tenant_id": project_id} if project_id else {})
    services: dict[str, dict[str, Any]] = {}
    for row in rows:
        if not row[3]:
            continue
        service = services.setdefault(row[0], {"endpoints": [], "id": row[0], "type": row[1], "name": row[2] or ""})
        if row[4] is None or not row[8] or (seen and row[4] not in seen):
            continue
        if set(_SLOT.findall(row[7])) <= values.keys():
            url = _SLOT.sub(lambda match: values[match[1]], row[7])
            endpoint = {"id": row[4], "interface": row[5], "region_id": row[6], "url": url, "region": row[6]}
            service["endpoints"].append(endpoint)
    return [service for service in services.values() if service["endpoints"] or not seen]
