"""A simulated ramdisk: the whole contract in memory; slowness and failures at the turn of a knob.

A command ends after `seconds()` on the event loop's clock, so that a virtual clock moves it too.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hagane.drivers.deploy.agent import EXTENSIONS
from hagane.drivers.deploy.base import Command, CommandState
from hagane.errors import DeviceFailed, Unavailable

COMMANDS = frozenset(f"{extension}.{name}" for name, extension in EXTENSIONS.items())
VERSIONS = {"sim": "1"}
STEPS: Mapping[str, list[dict[str, Any]]] = {
    "deploy": [{"interface": "deploy", "step": "erase_devices_metadata", "priority": 0, "reboot_requested": False}],
    "clean": [
        {"interface": "deploy", "step": "erase_devices_metadata", "priority": 99, "reboot_requested": False},
        {"interface": "deploy", "step": "erase_devices", "priority": 0, "reboot_requested": False},
        {"interface": "deploy", "step": "burnin_cpu", "priority": 0, "reboot_requested": False},
    ],
    "service": [{"interface": "deploy", "step": "burnin_cpu", "priority": 0, "reboot_requested": False}],
}


@dataclass(slots=True)
class Wrong:
    """What a simulated machine does wrong. `fail`: command -> what the ramdisk says."""

    mute: bool = False  # its ramdisk never calls back
    dead: bool = False  # it called back, and answers no more
    fail: dict[str, str] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)  # commands that never end
    steps: list[dict[str, Any]] | None = None  # what it offers instead of STEPS


class SimAgent:
    """A running ramdisk. `did` grows by what it has done; `ended` is called when a slow command has ended."""

    __slots__ = ("_all", "_number", "did", "ended", "seconds", "token", "wrong")

    def __init__(
        self,
        token: str = "",
        *,
        wrong: Wrong | None = None,
        seconds: Callable[[], float] = lambda: 0.0,
        ended: Callable[[], None] = lambda: None,
        did: list[str] | None = None,
    ) -> None:
        self.token, self.seconds, self.ended = token, seconds, ended
        self.wrong = Wrong() if wrong is None else wrong
        self.did: list[str] = [] if did is None else did
        self._all: dict[str, Command] = {}
        self._number = count(1)

    async def commands(self) -> list[Command]:
        self._answers()
        return list(self._all.values())

    async def result(self, command_id: str) -> Command:
        self._answers()
        if command_id not in self._all:
            raise DeviceFailed(f"The ramdisk does not know that: command {command_id}", code="AgentUnknown")
        return self._all[command_id]

    async def start(self, name: str, params: Mapping[str, Any]) -> Command:
        self._answers()
        if any(one.state is CommandState.RUNNING for one in self._all.values()):
            raise DeviceFailed("The ramdisk is busy with another command.", code="AgentBusy")
        _check(name, params)
        key, seconds = f"sim-{next(self._number)}", self.seconds()
        if name in self.wrong.hang or seconds:
            self._all[key] = Command(key, name, CommandState.RUNNING)
            if name not in self.wrong.hang:
                asyncio.get_running_loop().call_later(seconds, self._end, key, name, params)
        else:
            self._all[key] = self._done(key, name, params)
        return self._all[key]

    async def call(self, name: str, params: Mapping[str, Any]) -> Command:
        command = await self.start(name, params)
        while command.state is CommandState.RUNNING:
            await asyncio.sleep(0.1)
            command = await self.result(command.id)
        return command

    def _answers(self) -> None:
        if self.wrong.dead:
            raise Unavailable("The ramdisk cannot be reached.")

    def _end(self, key: str, name: str, params: Mapping[str, Any]) -> None:
        self._all[key] = self._done(key, name, params)
        self.ended()

    def _done(self, key: str, name: str, params: Mapping[str, Any]) -> Command:
        if error := self.wrong.fail.get(name):
            return Command(key, name, CommandState.FAILED, error=error)
        self.did.append(name if "step" not in params else f"{name}:{params['step']['step']}")
        return Command(key, name, CommandState.SUCCEEDED, _result(name, params, self.wrong.steps))


def _check(name: str, params: Mapping[str, Any]) -> None:
    """What a real ramdisk refuses at once. Raises DeviceFailed."""
    if name not in COMMANDS:
        raise DeviceFailed(f"The ramdisk refuses: Invalid command: Unknown command: {name}", code="AgentRefused")
    image = params.get("image_info") or {}
    if name == "standby.prepare_image" and not (image.get("checksum") or image.get("os_hash_value")):
        raise DeviceFailed("The ramdisk refuses: Image checksum is not available.", code="AgentRefused")


def _result(name: str, params: Mapping[str, Any], steps: list[dict[str, Any]] | None) -> dict[str, Any]:
    kind, _, verb = name.partition(".")
    if verb == f"get_{kind}_steps":
        offered = STEPS[kind] if steps is None else steps
        return {f"{kind}_steps": {"SimHardwareManager": offered}, "hardware_manager_version": VERSIONS}
    if verb == f"execute_{kind}_step":
        return {f"{kind}_result": None, f"{kind}_step": params["step"]}
    if name == "standby.prepare_image":
        return {"result": f"prepare_image: image ({params['image_info'].get('id')}) written to device /dev/sim"}
    return {}
