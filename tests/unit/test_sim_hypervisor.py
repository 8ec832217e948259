"""The simulated Host's own promises: time, faults, memory across restarts, ten thousand machines."""

import asyncio
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.hypervisor.base import BaseImage, Disk, Machine, MachineNic, Power
from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.drivers.hypervisor.sim_guest import empty_qcow2
from hagane.drivers.hypervisor.sim_knobs import Delays
from hagane.errors import DeviceFailed, HaganeError, Unavailable

IMAGE = BaseImage("image", Path("/nowhere"), "qcow2", 1, 1 << 30)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def machine(name: str = "m", **changes: Any) -> Machine:
    nics = (MachineNic(f"port-{name}", "fa:16:3e:00:00:01"),)
    disks = (Disk(f"root-{name}", 1, "image"),)
    return replace(Machine(name, name, 1, 64, Power.ON, disks=disks, nics=nics), **changes)


async def apply(host: SimHypervisor, wanted: Machine) -> Any:
    return await host.apply(wanted, {"image": IMAGE}, lambda _step, _percent: None)


async def test_each_kind_of_work_takes_its_time() -> None:
    clock = Clock()
    host = SimHypervisor(delays=Delays(image=10, disk=1, define=0.1, start=2), clock=clock, sleep=clock.sleep)
    await apply(host, machine("a"))
    assert clock.now == pytest.approx(1013.1)
    await apply(host, machine("b"))
    assert clock.now == pytest.approx(1016.2), "the image is here already"
    await apply(host, machine("b"))
    assert clock.now == pytest.approx(1016.2), "nothing to do takes no time"


async def test_a_guest_asked_to_stop_takes_its_time_and_a_deaf_one_all_of_it() -> None:
    clock = Clock()
    host = SimHypervisor(delays=Delays(shutdown=3), clock=clock, sleep=clock.sleep)
    for name, seconds in (("listens", 3), ("deaf", 60)):
        await apply(host, machine(name))
        host.deaf.add("deaf")
        began = clock.now
        seen = await apply(host, machine(name, power=Power.OFF, soft=True))
        assert (seen.power, clock.now - began) == (Power.OFF, seconds)


async def test_a_deaf_guest_keeps_its_nic_until_it_is_started_again() -> None:
    host = SimHypervisor(delays=Delays.none())
    await apply(host, machine())
    host.deaf.add("m")
    with pytest.raises(Unavailable, match="does not let go of port-m"):
        await apply(host, machine(nics=(), memory_mb=128))
    assert (await host.read())["m"].nics == {"port-m"}
    seen = await apply(host, machine(nics=(), memory_mb=128, boots=2))
    assert (seen.nics, seen.memory_mb) == (frozenset(), 128)


async def test_the_console_shows_how_far_the_boot_is() -> None:
    clock = Clock()
    host = SimHypervisor(delays=Delays.none(), clock=clock, sleep=clock.sleep)
    await apply(host, machine())
    early = await host.console_log("m")
    clock.now += 5
    late = await host.console_log("m")
    assert late.startswith(early) and late.endswith(b"m login: ") and b"login" not in early
    await apply(host, machine(boots=2))
    clock.now += 5
    assert (await host.console_log("m")).count(b"login") == 2


# Every call of a small scenario: what fails, and whether before or after it was done.
OPERATIONS = "apply MakeDisk MakeDrive Stop Define Start Plug Attach Pause Resume DropDisk Unplug Detach remove read"


async def scenario(host: SimHypervisor) -> None:
    """Each step is repeated until it works, as the engine would."""
    first = machine(config_drive=b"iso")
    more = replace(first, nics=(*first.nics, MachineNic("p2", "fa:16:3e:00:00:02")), disks=(*first.disks, Disk("d", 1)))
    new = replace(first, disks=(Disk("new", 1, "image"),), boots=2)
    for wanted in (first, more, first, replace(first, power=Power.PAUSED), first, new):
        await again(lambda wanted=wanted: apply(host, wanted))
        assert (await again(host.read))["m"].power is wanted.power
    await again(lambda: host.remove("m"))


async def again(call: Any) -> Any:
    for _ in range(3):
        try:
            return await call()
        except HaganeError as error:
            last = error
    raise last


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS.split())
async def test_any_call_that_fails_once_changes_nothing_in_the_end(operation: str, after: bool) -> None:
    host = SimHypervisor(delays=Delays.none())
    host.faults.fail(operation, Unavailable("not now"), after=after)
    await scenario(host)
    assert (await host.read(), await host.disks()) == ({}, {})
    assert host.faults.calls[operation] > 0


async def test_a_fault_may_last_and_may_be_for_one_machine() -> None:
    host = SimHypervisor(delays=Delays.none())
    host.faults.fail("Start", DeviceFailed("broken"), times=None, machine_id="bad")
    await apply(host, machine("good"))
    for _ in range(3):
        with pytest.raises(DeviceFailed, match="broken"):
            await apply(host, machine("bad"))
    host.faults.clear()
    assert (await apply(host, machine("bad"))).power is Power.ON


async def test_a_dead_host_answers_nothing_and_a_reboot_ends_its_machines() -> None:
    host = SimHypervisor(delays=Delays.none())
    await apply(host, machine())
    told: list[str] = []
    host.watch(told.append)
    host.die()
    for call in (host.read, host.facts, host.disks):
        with pytest.raises(Unavailable):
            await call()
    host.revive(rebooted=True)
    assert (await host.read())["m"].power is Power.OFF
    assert told == ["", ""]


async def test_what_happens_by_itself_is_told() -> None:
    host = SimHypervisor(delays=Delays.none())
    await apply(host, machine())
    told: list[str] = []
    host.watch(told.append)
    host.happen("m", Power.OFF, "the guest shut down")
    seen = (await host.read())["m"]
    assert (seen.power, seen.reason) == (Power.OFF, "the guest shut down")
    host.lose("m")
    assert (await host.read(), await host.disks()) == ({}, {"root-m": "m"})
    assert told == ["m", "m"]
    assert (await apply(host, machine())).power is Power.ON


async def test_one_upload_serves_all_who_wait_for_it() -> None:
    clock = Clock()
    host = SimHypervisor(delays=replace(Delays.none(), image=10), clock=clock, sleep=clock.sleep)
    await asyncio.gather(*(apply(host, machine(f"m{n}")) for n in range(20)))
    assert clock.now == 1010


async def test_a_restart_finds_everything(tmp_path: Path) -> None:
    state = tmp_path / "sim" / "host.jsonl"
    host = SimHypervisor(delays=Delays.none(), state=state)
    await host.connect()
    for number in range(5):
        await apply(host, machine(f"m{number}", config_drive=b"iso"))
    await apply(host, machine("m1", power=Power.OFF, config_drive=b"iso"))
    await host.remove("m2")
    before = await host.read()
    # Killed: the last line was cut short.
    await host.close()
    with state.open("ab") as file:
        file.write(b'["m3",{"power":')
    other = SimHypervisor(delays=Delays.none(), state=state)
    await other.connect()
    assert await other.read() == before
    assert await apply(other, machine("m1", power=Power.OFF)) == before["m1"]
    assert len(state.read_bytes().splitlines()) < 8, "what is outdated is not kept"
    await other.close()


async def test_an_image_that_does_not_fit_is_refused() -> None:
    host = SimHypervisor(delays=Delays.none())
    large = replace(IMAGE, virtual_size=5 << 30)
    with pytest.raises(DeviceFailed, match=r"needs 5\.0 GB, the disk has 1 GB"):
        await host.apply(machine(), {"image": large}, lambda _step, _percent: None)


@pytest.mark.parametrize("gigabytes", [1, 10, 63, 64, 65, 2000])
def test_an_empty_disk_is_a_valid_qcow2(gigabytes: int) -> None:
    """Checked by hand with qemu-img; here: all tables are inside the file and every cluster is counted once."""
    image = empty_qcow2(gigabytes << 30)

    def number(offset: int, width: int) -> int:
        return int.from_bytes(image[offset : offset + width], "big")

    assert (image[:4], number(4, 4), number(24, 8)) == (b"QFI\xfb", 3, gigabytes << 30)
    cluster = 1 << number(20, 4)
    entries, table, counts = number(36, 4), number(40, 8), number(48, 8)
    assert entries * cluster * (cluster // 8) >= gigabytes << 30
    assert table + entries * 8 <= len(image)
    block = number(counts, 8)
    assert [number(block + 2 * n, 2) for n in range(len(image) // cluster + 1)] == [1] * (len(image) // cluster) + [0]


async def test_ten_thousand_machines_are_cheap() -> None:
    host = SimHypervisor(delays=Delays.none())
    for number in range(9_000):
        await apply(host, machine(f"m{number}"))
    tracemalloc.start()
    for number in range(9_000, 10_000):
        await apply(host, machine(f"m{number}", config_drive=bytes(100_000)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 1_000 < 2_000
    assert len(await host.read()) == 10_000
    assert len(asyncio.all_tasks()) == 1
