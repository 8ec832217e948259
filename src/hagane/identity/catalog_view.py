"""The catalog as tokens carry it: every service with its endpoints, URLs filled in for the token's project.

A URL may hold $(project_id)s or %(tenant_id)s. Where none does, which is the rule here, the catalog is the same for all
and is encoded once.
"""

import re
from typing import Any

import msgspec

from hagane.state.database import Reader

_encode = msgspec.json.Encoder().encode
_SLOT = re.compile(r"[$%]\((\w+)\)s")
_ROWS = """SELECT s.id, s.type, s.name, s.enabled, e.id, e.interface, e.region_id, e.url, e.enabled
FROM identity_service s LEFT JOIN identity_endpoint e ON e.service_id = s.id
ORDER BY s.type, s.id, e.region_id, e.interface"""
MOST = 1000  # catalogs of projects kept


def fillable(url: str) -> bool:
    """Whether a URL names nothing but what a token can fill in."""
    slots = _SLOT.findall(url)
    return set(slots) <= {"project_id", "tenant_id", "user_id"} and url.replace("%%", "").count("%") == len(
        re.findall(r"%\(\w+\)s", url)
    )


class Catalog:
    """The catalog, kept until a change of it is told."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[tuple[str | None, str], bytes] = {}
        self._epoch = 0

    def forget(self) -> None:
        self._epoch += 1
        self._kept.clear()

    async def encoded(self, project_id: str | None, user_id: str) -> bytes:
        """The catalog of a project, as JSON."""
        kept = self._kept.get((None, "")) or self._kept.get((project_id, user_id))
        if kept is not None:
            return kept
        epoch = self._epoch
        entries, same = await self._entries(project_id, user_id)
        encoded = _encode(entries)
        if epoch == self._epoch:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[(None, "") if same else (project_id, user_id)] = encoded
        return encoded

    async def _entries(self, project_id: str | None, user_id: str) -> tuple[list[Any], bool]:
        """The catalog, and whether it is the same for everybody."""
        values = {"user_id": user_id} | ({"project_id": project_id, "tenant_id": project_id} if project_id else {})
        services: dict[str, dict[str, Any]] = {}
        same = True
        for row in await self._reader.fetch_tuples(_ROWS):
            if not row[3]:
                continue
            service = services.setdefault(row[0], {"endpoints": [], "id": row[0], "type": row[1], "name": row[2] or ""})
            if row[4] is None or not row[8]:
                continue
            slots = set(_SLOT.findall(row[7]))
            same = same and not slots
            if slots <= values.keys():
                url = _SLOT.sub(lambda match: values[match[1]], row[7])
                endpoint = {"id": row[4], "interface": row[5], "region_id": row[6], "url": url, "region": row[6]}
                service["endpoints"].append(endpoint)
        return list(services.values()), same
