"""Attachments as others read them, and what a volume's status is by them.

reserved ──connector──▶ attaching ──complete──▶ attached ──delete──▶ (gone)
"""

from typing import Any

from hagane.state.database import Reader, Row
from hagane.volume.row import ATTACHMENT

RESERVED, ATTACHING, ATTACHED, DETACHED = "reserved", "attaching", "attached", "detached"


async def of_volumes(reader: Reader, ids: list[str]) -> dict[str, list[Row]]:
    """volume id -> its attachments."""
    found: dict[str, list[Row]] = {}
    if ids:
        for row in await ATTACHMENT.select(reader, {"volume_id": ids}, order="created_at, id"):
            found.setdefault(row["volume_id"], []).append(row)
    return found


def status_by(rows: list[Row]) -> dict[str, Any]:
    """status and attach_status of a volume that has these attachments: the furthest of them counts."""
    words = {row["attach_status"] for row in rows}
    if ATTACHED in words:
        return {"status": "in-use", "attach_status": ATTACHED}
    if ATTACHING in words:
        return {"status": "attaching", "attach_status": ATTACHING}
    if RESERVED in words:
        return {"status": "reserved", "attach_status": RESERVED}
    return {"status": "available", "attach_status": DETACHED}
