"""What of block storage goes with its project: its limits, its default type, and its way to private types.

Volumes and the like stay, as in the real service: an administrator finds them by `project_id`.
"""

from hagane.state.database import Tx
from hagane.volume.quota import LIMIT
from hagane.volume.type_row import ACCESS, PROJECT_DEFAULT


async def deleted(tx: Tx, project_id: str) -> None:
    for table in (LIMIT, PROJECT_DEFAULT, ACCESS):
        await table.delete(tx, {"project_id": project_id})
