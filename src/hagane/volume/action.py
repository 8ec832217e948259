"""POST /volumes/{id}/action and /snapshots/{id}/action: all verbs together."""

from hagane.api.http import Request, Response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.volume.admin_action import AdminActions, SnapshotActions
from hagane.volume.base import both
from hagane.volume.verb import act
from hagane.volume.volume_action import OwnerActions
from hagane.volume.volume_connect import ConnectActions


def routes(cloud: Cloud) -> list[Route]:
    of_volumes = {
        **OwnerActions(cloud).verbs(),
        **ConnectActions(cloud).verbs(),
        **AdminActions(cloud).verbs(),
    }
    of_snapshots = SnapshotActions(cloud).verbs()

    async def volume_action(request: Request) -> Response:
        return await act(request, of_volumes)

    async def snapshot_action(request: Request) -> Response:
        return await act(request, of_snapshots)

    return [
        *both("POST", "/volumes/{id}/action", volume_action, "volume:action", rule="volume:extend", status=202),
        *both("POST", "/snapshots/{id}/action", snapshot_action, "snapshot:action",
              rule="volume_extension:snapshot_admin_actions:reset_status", status=202),
    ]  # fmt: skip
