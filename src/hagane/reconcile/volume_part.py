"""What of block storage runs beside the API: the backends of this process and the reconcilers that use them."""

import asyncio
from collections.abc import Sequence

from hagane.cloud import Cloud
from hagane.drivers.volume.base import clean
from hagane.drivers.volume.block import BlockVolumes
from hagane.drivers.volume.file import FileVolumes
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Reconciler
from hagane.reconcile.volume import VolumeReconciler
from hagane.reconcile.volume_backends import Backends
from hagane.reconcile.volume_backup import BackupReconciler
from hagane.reconcile.volume_connection import BackendConnections
from hagane.reconcile.volume_export import ExportReconciler
from hagane.reconcile.volume_group import GroupReconciler, GroupSnapshotReconciler
from hagane.reconcile.volume_holder import AttachedHolder
from hagane.reconcile.volume_snapshot import SnapshotReconciler
from hagane.state.secret import Secrets
from hagane.volume.attach import Connections
from hagane.volume.type_row import seed


class VolumePart:
    """A part of the process (see app.py)."""

    def __init__(self, cloud: Cloud) -> None:
        devices = cloud.use(Devices)
        self._cloud, self.backends = cloud, Backends(cloud, devices.volumes)
        self._exports = ExportReconciler(cloud.db, self.backends, devices.exports, cloud.use(Secrets))
        holder = AttachedHolder(cloud.db, devices)
        for driver in devices.volumes.values():
            if isinstance(driver, FileVolumes | BlockVolumes):
                driver.holder = holder
        cloud.provide(Connections, BackendConnections(cloud.db, self.backends, devices.exports, self._exports))
        self.reconcilers: Sequence[Reconciler] = [
            VolumeReconciler(cloud, self.backends),
            SnapshotReconciler(cloud, self.backends),
            BackupReconciler(cloud, self.backends),
            GroupReconciler(cloud),
            GroupSnapshotReconciler(cloud, self.backends),
            self._exports,
        ]

    async def start(self) -> None:
        await self._cloud.db.write(seed)
        await asyncio.to_thread(clean, self._cloud.config.state / "backups")  # what a kill left half-made
        await self.backends.start()
        await self._exports.start()

    async def stop(self) -> None:
        await self._exports.stop()
        await self.backends.stop()
