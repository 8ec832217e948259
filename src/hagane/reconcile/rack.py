"""The racks' part of the process: drivers of switches and gateways, and who wakes their reconcilers."""

import asyncio
from collections.abc import Sequence

from hagane.baremetal import rack as racks
from hagane.baremetal.plug import Plugs as Provided
from hagane.cloud import Cloud
from hagane.network.plugged import Plugs
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Reconciler
from hagane.reconcile.news import News
from hagane.reconcile.ovn.part import NetworkPart
from hagane.reconcile.rack_drivers import Gateways, Switches
from hagane.reconcile.rack_gateway import GatewayReconciler
from hagane.reconcile.switchport import SwitchReconciler
from hagane.state import work
from hagane.state.database import Tx
from hagane.state.secret import Secrets

GATHER = 0.01  # seconds: a gateway that dies is to be noticed at once, and a plug is many changes


class RackPart:
    """A part of the process (see app.py)."""

    def __init__(self, cloud: Cloud) -> None:
        self._db = cloud.db
        devices = cloud.use(Devices)
        self._news = News(cloud.db, "rack-news", GATHER)
        tell = self._news.tell
        self._switches = Switches(cloud.use(Secrets), devices.switches, lambda key: tell("switch", key))
        self._gateways = Gateways(devices.gateways, lambda key: tell("rack_gateway", key))
        self._network = cloud.use(NetworkPart)
        self.reconcilers: Sequence[Reconciler] = (
            SwitchReconciler(cloud, self._switches),
            GatewayReconciler(cloud, self._gateways, self._dead, self._network.look_at),
        )
        cloud.provide(Switches, self._switches)
        cloud.provide(Plugs, Provided(cloud))  # type: ignore[type-abstract]

    async def start(self) -> None:
        """Look at every switch and gateway: what happened while nobody listened is not known."""

        async def write(tx: Tx) -> None:
            for kind, table in (("switch", racks.SWITCH), ("rack_gateway", racks.GATEWAY)):
                await work.wake_all(tx, kind, f"SELECT id AS key FROM {table.name}", {})

        await self._db.write(write)

    async def stop(self) -> None:
        await self._news.stop()
        await asyncio.gather(self._switches.close(), self._gateways.close())

    def _dead(self, name: str) -> str:
        """Why OVN thinks that a chassis is dead. What it does not know yet, or cannot say now, counts as alive."""
        if not self._network.ovn.readable:
            return ""
        for chassis in self._network.chassis():
            if chassis.name == name and not chassis.alive:
                return f"Chassis {name} does not keep up with OVN."
        return ""
