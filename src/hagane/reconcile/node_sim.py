"""Simulated machines: a BMC and, when it starts from the network, a ramdisk that calls back as a real one does.

    power on, armed for the network ──boot seconds──▶ lookup ─▶ heartbeat ─▶ commands ...      power off: it is gone

They use the same doors as real ramdisks (baremetal/agent_gate.py); only the HTTP in between is left out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hagane.baremetal.agent_gate import AgentGate
from hagane.baremetal.node_state import LOOKUP
from hagane.drivers.bmc.base import BmcDesired, BootDevice
from hagane.drivers.bmc.plan import Step as BmcStep
from hagane.drivers.bmc.sim import SimBmc
from hagane.drivers.deploy.sim import SimAgent, Wrong
from hagane.errors import HaganeError, Unavailable
from hagane.state.database import Row

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class SimTimes:
    """Seconds that a simulated machine takes."""

    boot: float = 0.0
    command: float = 0.0


class Machine(SimBmc):
    """A machine: its BMC, and the ramdisk that runs on it."""

    __slots__ = ("did", "fail_always", "fail_once", "fleet", "ramdisk", "wrong")

    def __init__(self, name: str, fleet: "Fleet") -> None:
        super().__init__(name)
        self.fleet, self.ramdisk, self.wrong = fleet, None, Wrong()  # type: Fleet, SimAgent | None, Wrong
        self.did: list[str] = []  # what ramdisks have done here: tests compare it
        self.fail_once: dict[str, HaganeError] = {}  # call or step of the BMC -> what it says, once
        self.fail_always: HaganeError | None = None

    def _start(self) -> None:
        device = self.boot.device if self.boot else BootDevice.DISK
        super()._start()
        self.ramdisk = None
        if device is not BootDevice.DISK and not self.wrong.mute:
            self.fleet.spawn(self._ramdisk(self.starts))

    async def _before(self, operation: str) -> None:
        await super()._before(operation)
        self.fleet.asked += operation == "power"
        error = self.fail_always or self.fail_once.pop(operation, None)
        if error is not None:
            raise type(error)(error.message, code=error.code)

    def lose_power(self) -> None:
        super().lose_power()
        self.ramdisk = None

    async def _do(self, todo: BmcStep, desired: BmcDesired) -> None:
        await super()._do(todo, desired)
        if not self.on:
            self.ramdisk = None

    async def _ramdisk(self, start: int) -> None:
        """From the start of the machine to the first heartbeat."""
        if self.fleet.times.boot:
            await asyncio.sleep(self.fleet.times.boot)
        if not self.on or self.starts != start:
            return
        row, token = await again(lambda: self.fleet.gate.lookup(self.name, []))
        if token is None or row["provision_state"] not in LOOKUP:
            return
        self.ramdisk = agent = SimAgent(
            token, wrong=self.wrong, did=self.did, seconds=lambda: self.fleet.times.command,
            ended=lambda: self._ended(agent),
        )  # fmt: skip
        if row["provision_state"] in ("inspect wait", "inspecting"):
            await again(lambda: self.fleet.gate.found(self.name, [], inventory(self.name)))
        else:
            await self.beat()

    def _ended(self, agent: SimAgent) -> None:
        if self.ramdisk is agent:
            self.fleet.spawn(self.beat())

    async def beat(self) -> None:
        if self.ramdisk is not None:
            told = {"callback_url": f"http://{self.name}.sim:9999", "agent_version": "sim",
                    "agent_token": self.ramdisk.token}  # fmt: skip
            await again(lambda: self.fleet.gate.heartbeat(self.name, told))


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """Ramdisks ask again when nobody answers."""
    for pause in (0.05, 0.2, 1.0, 5.0):
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(pause)
    return await call()


def inventory(name: str) -> dict[str, Any]:
    """What a simulated ramdisk finds: the same machine every time."""
    tail = name.replace("-", "")[:6]
    mac = f"52:54:00:{tail[:2]}:{tail[2:4]}:{tail[4:6]}"
    return {"inventory": {
        "interfaces": [{"name": "eth0", "mac_address": mac, "has_carrier": True, "lldp": [
            [1, "04525401000002"], [2, "05" + name[:8].encode().hex()], [5, b"sim-tor".hex()]]}],
        "cpu": {"count": 8, "architecture": "x86_64"}, "memory": {"physical_mb": 16384},
        "disks": [{"name": "/dev/sda", "size": 100 << 30}], "boot": {"current_boot_mode": "uefi", "pxe_interface": mac},
        "system_vendor": {"manufacturer": "Hagane", "product_name": "Sim", "serial_number": name},
    }}  # fmt: skip


class Fleet:
    """All simulated machines of a cloud. It outlives the process's parts, as real machines do."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.times = SimTimes()
        self.asked = 0  # how often a BMC was asked for the power of its machine
        self.paces: Any = None  # how long one waits for them (node_tools.Times), if not as the settings say
        self.gate: AgentGate
        self._tasks: set[asyncio.Task[None]] = set()

    def bmc(self, row: Row) -> Machine:
        machine = self.machines.get(row["id"])
        if machine is None:
            machine = self.machines[row["id"]] = Machine(row["id"], self)
            machine.on = row["power_state"] == "power on"
        return machine

    def agent(self, node_id: str) -> SimAgent:
        machine = self.machines.get(node_id)
        if machine is None or machine.ramdisk is None:
            raise Unavailable(f"The ramdisk of {node_id} does not answer.")
        return machine.ramdisk

    def forget(self, node_id: str) -> None:
        self.machines.pop(node_id, None)

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Any) -> None:
        try:
            await work
        except HaganeError as error:  # a real ramdisk, too, can only say it on its console
            log.info("a simulated ramdisk was refused: %s", error.message)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
