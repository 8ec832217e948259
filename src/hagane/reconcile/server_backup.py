"""Backups of Servers: of one kind, only the newest so many are kept. Those that are protected stay, and count."""

from hagane.cloud import Cloud
from hagane.image import store
from hagane.image.image import Image
from hagane.state.database import Row
from hagane.state.table import Sql

_KIND = """id IN (SELECT a.image_id FROM image_property a JOIN image_property b ON a.image_id = b.image_id
WHERE a.name = 'instance_uuid' AND a.value = :server AND b.name = 'backup_type' AND b.value = :kind)"""


async def rotate(cloud: Cloud, row: Row) -> None:
    """Delete what is more than is to be kept. Repeatable; the newest is the one just made."""
    wanted = row["snapshot"]
    kind = Sql(_KIND, {"server": row["id"], "kind": wanted["kind"]})
    images = await Image.table.select(cloud.db, {"owner": row["project_id"]}, conditions=[kind],
                                      order="created_at DESC, id")  # fmt: skip
    for image in images[wanted["keep"] :]:
        if not image["protected"]:
            await store.discard(cloud, image["id"])
