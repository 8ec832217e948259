"""Break a part of the rack on purpose, and mend it: what a data centre does to one, on a quiet afternoon.

    inject(rack, "bm1", "bmc-slow=5")     clear(rack, "bm1")     present(rack)

A fault that is an event (power-loss, reboot, wiped) is over by itself; any other lasts until it is cleared. Faults of a
BMC are read by the emulator at its next request; those of a disk take hold in the running machine and at later starts.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from hagane.errors import DeviceFailed, Invalid, Unavailable
from hagane.lab import machine as lab_machine
from hagane.lab import netns, rack_bmc, rack_gateway, rack_tor
from hagane.lab.bmc import qemu, qmp
from hagane.lab.bmc.faults import DISK_FAULTS, FaultFile, Faults
from hagane.lab.bmc.machine import Machine
from hagane.lab.process import Daemon, end, pid_of, stop, together
from hagane.lab.rack_place import OOB, TRUNK, Rack
from hagane.lab.rack_trouble import Trouble, note

REBOOT_SECONDS = 3.0
BMC = ("bmc-slow", "bmc-dead", "bmc-wrong-answers", "bmc-password", "bmc-stuck")
OF_MACHINE = (*BMC, "power-loss", "cable-pulled", *DISK_FAULTS)
OF_SWITCH = ("reboot", "wiped", "hang", "dead")
OF_GATEWAY = ("dead",)


async def inject(rack: Rack, part: str, fault: str) -> None:
    """Break it. `fault` is a name, or name=value. Errors: Invalid (no such part or fault), Unavailable."""
    name, _, value = fault.partition("=")
    known = faults_of(rack, part)
    if name not in known:
        raise Invalid(f"{part} has no fault {name!r}: it knows {', '.join(known)}.")
    if part == rack.switch:
        await _SWITCH[name](rack)
    elif part in rack.gateways:
        await _gateway_dead(rack, part)
    else:
        await _break_machine(rack, _machine(rack, part), name, value)


async def clear(rack: Rack, part: str) -> None:
    """End every lasting fault of the part."""
    faults_of(rack, part)
    if part == rack.switch:
        await _mend_switch(rack)
    elif part in rack.gateways:
        note(rack, part, "dead", on=False)
        async with lab_machine.locked(rack.site):
            await rack_tor.trunk(rack, part)
            await rack_gateway.up(rack, part)
    else:
        await _mend_machine(rack, _machine(rack, part))


def faults_of(rack: Rack, part: str) -> tuple[str, ...]:
    """The names of what can be wrong with a part. Raises Invalid."""
    kinds: dict[str, tuple[str, ...]] = {rack.switch: OF_SWITCH} | dict.fromkeys(rack.gateways, OF_GATEWAY)
    kinds |= {one.name: OF_MACHINE for one in rack.machines}
    if part not in kinds:
        raise Invalid(f"The rack has no {part!r}: it has {', '.join(kinds)}.")
    return kinds[part]


def present(rack: Rack) -> dict[str, list[str]]:
    """Part -> what is broken there on purpose now."""
    found: dict[str, list[str]] = {}
    for part, fault in sorted(Trouble.of(rack).pairs):
        owner, _, nic = part.partition("-")
        found.setdefault(owner, []).append(f"{fault}={nic}" if nic else fault)
    for one in rack_bmc.machines(rack):
        faults = FaultFile(one.spec.folder).now()
        listed = [f"bmc-slow={faults.slow:g}"] if faults.slow else []
        named = {"bmc-dead": faults.dead, "bmc-wrong-answers": faults.wrong, "bmc-password": faults.password,
                 "bmc-stuck": faults.stuck, faults.disk: bool(faults.disk)}  # fmt: skip
        if listed := listed + [name for name, on in named.items() if on]:
            found.setdefault(one.spec.name, []).extend(listed)
    return found


def _machine(rack: Rack, name: str) -> Machine:
    found = [one for one in rack_bmc.machines(rack) if one.spec.name == name]
    if not found:
        raise Unavailable(f"{name} is not up: `hagane lab up` first.")
    return found[0]


async def _break_machine(rack: Rack, machine: Machine, name: str, value: str) -> None:
    file = FaultFile(machine.spec.folder)
    if name == "power-loss":
        await machine.lose_power()
    elif name == "cable-pulled":
        await _cable(rack, machine, _number(value, len(machine.spec.nics)), pulled=True)
    elif name in DISK_FAULTS:
        await _disk_restored(machine)
        file.put(replace(file.now(), disk=name))
        await _disk_broken(machine, name)
    else:
        changed: dict[str, Faults] = {
            "bmc-slow": replace(file.now(), slow=_seconds(value)), "bmc-dead": replace(file.now(), dead=True),
            "bmc-wrong-answers": replace(file.now(), wrong=True), "bmc-password": replace(file.now(), password=True),
            "bmc-stuck": replace(file.now(), stuck=True),
        }  # fmt: skip
        file.put(changed[name])


async def _mend_machine(rack: Rack, machine: Machine) -> None:
    FaultFile(machine.spec.folder).put(Faults())
    await _disk_restored(machine)
    for number, nic in enumerate(machine.spec.nics):
        if nic.tap in Trouble.of(rack).unplugged:
            await _cable(rack, machine, number, pulled=False)


def _seconds(value: str) -> float:
    try:
        return float(value or "5")
    except ValueError as error:
        raise Invalid(f"{value!r} is no number of seconds.") from error


def _number(value: str, count: int) -> int:
    if not (value or "0").isdecimal() or int(value or "0") >= count:
        raise Invalid(f"{value!r} is none of its NICs, 0 to {count - 1}.")
    return int(value or "0")


async def _cable(rack: Rack, machine: Machine, number: int, *, pulled: bool) -> None:
    """Both ends lose their carrier: the switch's, and the machine's own."""
    port, file = machine.spec.nics[number].tap, FaultFile(machine.spec.folder)
    others = set(file.now().unplugged) - {number}
    file.put(replace(file.now(), unplugged=tuple(sorted(others | ({number} if pulled else set())))))
    note(rack, port, "cable-pulled", on=pulled)
    await netns.batch(rack.site.netns(rack.switch), f"link set {port} {'down' if pulled else 'up'}")
    if machine.pid() is not None:
        await qmp.order(machine.spec.qmp, "set_link", name=f"net{number}", up=not pulled)


async def _disk_broken(machine: Machine, fault: str) -> None:
    """Put a filter that fails between the first disk and its file."""
    if machine.pid() is not None and machine.spec.disks:
        await qmp.order(machine.spec.qmp, "blockdev-add", **qemu.failing(0, fault))
        await qmp.order(machine.spec.qmp, "blockdev-reopen", options=[qemu.node(0, f"{qemu.disk_node(0)}-bad")])


async def _disk_restored(machine: Machine) -> None:
    if machine.pid() is not None and machine.spec.disks:
        await qmp.order(machine.spec.qmp, "blockdev-reopen", options=[qemu.node(0, f"{qemu.disk_node(0)}-file")])
        with suppress(DeviceFailed):  # there was no filter
            await qmp.order(machine.spec.qmp, "blockdev-del", **{"node-name": f"{qemu.disk_node(0)}-bad"})


# The switch


async def _reboot(rack: Rack) -> None:
    """A switch of this size takes a minute; this one some seconds, in which every cable is dark."""
    await _switch_off(rack)
    await asyncio.sleep(REBOOT_SECONDS)
    await _switch_on(rack)


async def _wiped(rack: Rack) -> None:
    """The same, and it comes up as it left the factory."""
    await _switch_off(rack)
    await rack_tor.forget(rack)
    await asyncio.sleep(REBOOT_SECONDS)
    await _switch_on(rack)


async def _switch_off(rack: Rack) -> None:
    note(rack, rack.switch, "dead", on=True)
    async with lab_machine.locked(rack.site):
        await _continue(rack)
        await together(*(stop(daemon) for daemon in rack_tor.daemons(rack)))
        lines = (f"link set {port} down" for port in (*rack.ports, *rack.trunks))
        await netns.batch(rack.site.netns(rack.switch), *lines)


async def _switch_on(rack: Rack) -> None:
    note(rack, rack.switch, "dead", on=False)
    async with lab_machine.locked(rack.site):
        await rack_tor.up(rack, unplugged=Trouble.of(rack).unplugged)


async def _hang(rack: Rack) -> None:
    """Its management answers no more; frames go on."""
    note(rack, rack.switch, "hang", on=True)
    _signal(rack_tor.daemons(rack)[0], signal.SIGSTOP)


async def _continue(rack: Rack) -> None:
    _signal(rack_tor.daemons(rack)[0], signal.SIGCONT)
    note(rack, rack.switch, "hang", on=False)


async def _mend_switch(rack: Rack) -> None:
    await _continue(rack)
    await _switch_on(rack)


def _signal(daemon: Daemon, number: signal.Signals) -> None:
    pid = pid_of(daemon)
    if pid is not None:
        os.kill(pid, number)


async def _gateway_dead(rack: Rack, name: str) -> None:
    """Gone from one moment to the next: it takes back nothing of what it told others."""
    note(rack, name, "dead", on=True)
    async with lab_machine.locked(rack.site):
        for daemon in reversed(rack_gateway.daemons(rack, name)):
            pid = pid_of(daemon)
            if pid is not None:
                await end(pid, grace=0)
        await netns.batch(rack.site.netns(name), *(f"link set {link} down" for link in (TRUNK, OOB)))


_SWITCH: dict[str, Callable[[Rack], Awaitable[None]]] = {
    "reboot": _reboot, "wiped": _wiped, "hang": _hang, "dead": _switch_off,
}  # fmt: skip
