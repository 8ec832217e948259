"""The last two steps of a bare-metal Server's deployment, which no BMC and no ramdisk can see: its machine uses its
address (`tenant-dhcp`), and packets come from it (`reachable`). Heard on the metadata Port of its network, for two
minutes at most, beside everything else: an ACTIVE Server does not wait for it.

A process that ends meanwhile leaves the two steps out: they are for people, nothing depends on them.
"""

import asyncio
import contextlib
import logging
from functools import partial

from hagane.baremetal.node_progress import note
from hagane.cloud import Cloud
from hagane.drivers.metadata.ear import Ear, Sign
from hagane.errors import HaganeError
from hagane.reconcile.metadata import MetadataPart
from hagane.state.database import Row, Tx

log = logging.getLogger(__name__)
SECONDS = 120.0
AGAIN = 1.0  # seconds until a namespace that is not there yet is looked for again


class Reach:
    """The watches of this process."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._tasks = cloud, dict[str, asyncio.Task[None]]()

    def begin(self, server: Row, ports: list[Row]) -> None:
        """Watch for a Server that has just been deployed."""
        port = next((port for port in ports if port["fixed_ips"]), None)
        if port is None or not self._cloud.has(MetadataPart):
            return
        self.end(server["id"])
        watch = self._watch(server["node_id"], port)
        task = self._tasks[server["id"]] = asyncio.get_running_loop().create_task(watch, name="reach")
        task.add_done_callback(lambda _: self._tasks.pop(server["id"], None))

    def end(self, server_id: str) -> None:
        """The Server is wanted otherwise, or gone."""
        if (task := self._tasks.pop(server_id, None)) is not None:
            task.cancel()

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, node_id: str, port: Row) -> None:
        driver, address = self._cloud.use(MetadataPart).driver, port["fixed_ips"][0]["ip_address"]
        signs: asyncio.Queue[Sign] = asyncio.Queue()
        try:
            where = driver.ear(port["network_id"])
            if where is None:  # simulated machines are there at once
                await self._heard(node_id, Sign.PACKET, address)
                return
            async with asyncio.timeout(SECONDS):
                listening = asyncio.create_task(self._listen(*where, port["mac_address"], address, signs))
                try:
                    while await self._heard(node_id, await signs.get(), address) is not Sign.PACKET:
                        continue
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        except TimeoutError:
            log.info("node %s was not heard of at %s within %.0f s", node_id, address, SECONDS)
        except HaganeError as error:
            log.warning("cannot watch for node %s at %s: %s", node_id, address, error.message)

    async def _listen(self, name: str, interface: str, mac: str, address: str, signs: asyncio.Queue[Sign]) -> None:
        while True:
            with contextlib.suppress(HaganeError, OSError):
                ear = await Ear.open(name, interface)
                try:
                    await ear.wait(mac, address, signs.put_nowait)
                    return
                finally:
                    ear.close()
            await asyncio.sleep(AGAIN)

    async def _heard(self, node_id: str, sign: Sign, address: str) -> Sign:
        steps = {"tenant-dhcp": f"It uses {address}."}
        if sign is Sign.PACKET:
            steps["reachable"] = f"Packets come from {address}."
        for step, message in steps.items():
            await self._cloud.db.write(partial(_note, node_id, step, message))
        return sign


async def _note(node_id: str, step: str, message: str, tx: Tx) -> None:
    await note(tx, node_id, step, message=message)
