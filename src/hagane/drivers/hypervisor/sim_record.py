"""What a simulated Host keeps of one machine, and what follows from it without the Host: pure functions."""

from dataclasses import dataclass, field, replace

from hagane.drivers.hypervisor import plan as step
from hagane.drivers.hypervisor.base import Machine, MachineNic, Power, Seen

UP = (Power.ON, Power.PAUSED)


@dataclass(slots=True)
class Record:
    """One machine on the Host. `live` is what was stored when it started; `nics` and `attached` are plugged in now."""

    stored: Machine | None = None
    live: Machine | None = None
    power: Power = Power.OFF
    nics: tuple[MachineNic, ...] = ()
    attached: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    started: tuple[float, ...] = ()
    ended: float | None = None
    reason: str = ""


def essence(machine: Machine) -> Machine:
    """What is stored: without the wish for power, and without the bytes of the drive, which ten thousand would feel."""
    drive = None if machine.config_drive is None else b""
    return replace(machine, power=Power.ON, config_drive=drive, soft=False, soft_seconds=0)


def device_of(todo: step.Step) -> str:
    """What the guest has to let go of."""
    match todo:
        case step.Unplug(nic):
            return nic.port_id
        case step.Detach(key):
            return key
    return ""


def now_of(record: Record) -> Machine | None:
    return record.live if record.power in UP else record.stored


def seen_of(record: Record) -> Seen | None:
    now = now_of(record)
    if now is None:
        return None
    running = record.power in UP
    attached = record.attached if running else tuple(disk.key for disk in now.disks)
    return Seen(
        id=now.id,
        power=record.power,
        boots=now.boots,
        nics=frozenset(nic.port_id for nic in (record.nics if running else now.nics)),
        disks=frozenset(key for key in attached if not key.startswith(step.DRIVE)),
        vcpus=now.vcpus,
        memory_mb=now.memory_mb,
        reason=record.reason,
    )
