"""What every hypervisor driver must do. The cases are data; each runs against the simulated and the real Host."""

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hagane.drivers.configdrive import build
from hagane.drivers.hypervisor.base import BaseImage, Disk, Machine, MachineNic, Power, Seen, Source
from hagane.errors import Conflict, DeviceFailed, HaganeError, NotFound, Unavailable
from tests.conformance.hosts import Host, LibvirtHost, RealPlace, libvirt_host, sim_host, volume_path

REAL = pytest.param("libvirt", marks=pytest.mark.real)
ON, OFF, PAUSED, SUSPENDED = Power.ON, Power.OFF, Power.PAUSED, Power.SUSPENDED


@pytest.fixture(params=["sim", REAL])
def where(request: pytest.FixtureRequest) -> RealPlace | None:
    return request.getfixturevalue("place") if request.param == "libvirt" else None


@pytest.fixture
async def host(where: RealPlace | None, tmp_path: Path) -> AsyncIterator[Host]:
    if where is None:
        async with sim_host(tmp_path) as sim:
            yield sim
    else:
        async with libvirt_host(tmp_path, where) as real:
            yield real


def nic(number: int) -> MachineNic:
    return MachineNic(f"00000000-0000-4000-8000-{number:012}", f"fa:16:3e:00:00:{number:02x}", 1442)


ROOT, DATA, NEW_ROOT = Disk("root", 1, "empty"), Disk("data", 1), Disk("new-root", 1, "empty")
ONE, TWO, LARGE = (
    Disk(name, size, source=Source("local", {"device_path": volume_path(name), "format": "qcow2"}), serial=name)
    for name, size in (("one", 1), ("two", 1), ("large", 2))
)
SCSI = replace(TWO, bus="scsi", read_only=True)
DRIVE = build({"openstack/latest/meta_data.json": b"{}"})


def machine(**changes: Any) -> Machine:
    base = Machine(str(uuid4()), "web", 1, 128, ON, disks=(ROOT,), nics=(nic(1),))
    return replace(base, **changes)


@dataclass(frozen=True)
class Change:
    """What is wanted next, and what must be seen then. `restarted`: None means that it did not run before or after."""

    want: dict[str, Any]
    restarted: bool | None
    see: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, list[Change]] = {
    "a machine starts": [Change({}, None, {"power": ON, "boots": 1, "vcpus": 1, "memory_mb": 128})],
    "a machine is made but not started": [
        Change({"power": OFF}, None, {"power": OFF}),
        Change({"power": ON}, None, {"power": ON, "boots": 1}),
    ],
    "stop and start": [
        Change({}, None, {"power": ON}),
        Change({"power": OFF}, None, {"power": OFF, "boots": 1}),
        Change({"power": ON, "boots": 2}, None, {"power": ON, "boots": 2}),
    ],
    "pause and resume": [
        Change({}, None),
        Change({"power": PAUSED}, False, {"power": PAUSED}),
        Change({"power": ON}, False, {"power": ON, "boots": 1}),
    ],
    "suspend and wake up": [
        Change({}, None),
        Change({"power": SUSPENDED}, None, {"power": SUSPENDED, "boots": 1}),
        Change({"power": ON}, None, {"power": ON, "boots": 1, "nics": {nic(1).port_id}, "disks": {"root"}}),
    ],
    "a boot instead of waking up": [
        Change({}, None),
        Change({"power": SUSPENDED}, None, {"power": SUSPENDED}),
        Change({"power": ON, "boots": 2}, None, {"power": ON, "boots": 2}),
    ],
    "a suspended machine is stopped": [
        Change({"power": PAUSED}, None),
        Change({"power": SUSPENDED}, None, {"power": SUSPENDED}),
        Change({"power": OFF}, None, {"power": OFF}),
    ],
    "a machine starts paused": [
        Change({"power": PAUSED}, None, {"power": PAUSED}),
        Change({"power": ON}, False, {"power": ON}),
    ],
    "reboot": [Change({}, None), Change({"boots": 2}, True, {"power": ON, "boots": 2})],
    "reboot of a paused machine": [
        Change({"power": PAUSED}, None),
        Change({"power": ON, "boots": 2, "soft": True}, True, {"power": ON, "boots": 2}),
    ],
    "a boot of long ago is not repeated": [Change({"boots": 3}, None), Change({"boots": 2}, False, {"boots": 3})],
    "several boots at once are one": [Change({}, None), Change({"boots": 7}, True, {"boots": 7})],
    "a boot while off counts when it starts": [
        Change({"power": OFF}, None),
        Change({"boots": 5}, None, {"power": OFF}),
        Change({"power": ON}, None, {"power": ON, "boots": 5}),
    ],
    "a NIC is plugged in": [
        Change({}, None, {"nics": {nic(1).port_id}}),
        Change({"nics": (nic(1), nic(2))}, False, {"nics": {nic(1).port_id, nic(2).port_id}}),
        Change({"boots": 2}, True, {"nics": {nic(1).port_id, nic(2).port_id}}),
    ],
    "NICs change while it is off": [
        Change({"power": OFF}, None),
        Change({"nics": (nic(2), nic(3))}, None, {"nics": {nic(2).port_id, nic(3).port_id}}),
        Change({"power": ON}, None, {"nics": {nic(2).port_id, nic(3).port_id}}),
    ],
    "a machine without NICs and disks": [
        Change({"nics": (), "disks": ()}, None, {"power": ON, "nics": set(), "disks": set()})
    ],
    "a disk is attached": [
        Change({}, None, {"disks": {"root"}}),
        Change({"disks": (ROOT, DATA)}, False, {"disks": {"root", "data"}}),
        Change({"boots": 2}, True, {"disks": {"root", "data"}}),
    ],
    "a disk goes while it is off": [
        Change({"power": OFF, "disks": (ROOT, DATA)}, None, {"disks": {"root", "data"}}),
        Change({"disks": (ROOT,)}, None, {"disks": {"root"}}),
    ],
    "a volume is attached, and goes while it is off": [
        Change({}, None, {"disks": {"root"}}),
        Change({"disks": (ROOT, replace(ONE, device="/dev/vdc"))}, False, {"disks": {"root", "one"}}),
        Change({"boots": 2}, True, {"disks": {"root", "one"}}),
        Change({"power": OFF}, None, {"disks": {"root", "one"}}),
        Change({"disks": (ROOT,)}, None, {"disks": {"root"}}),
        Change({"disks": (ROOT, ONE), "power": PAUSED}, None, {"disks": {"root", "one"}}),
    ],
    "volumes come and go while it runs": [
        Change({"disks": (ROOT, ONE)}, None, {"disks": {"root", "one"}}),
        Change({"disks": (ROOT, ONE, SCSI)}, False, {"disks": {"root", "one", "two"}}),
        Change({"disks": (ROOT, ONE)}, False, {"disks": {"root", "one"}}),
    ],
    "boot from a volume, without a disk of its own": [
        Change({"disks": (replace(ONE, device="/dev/vda"),)}, None, {"power": ON, "disks": {"one"}}),
        Change({"boots": 2, "config_drive": DRIVE}, True, {"disks": {"one"}}),
    ],
    "a volume is copied into another while it runs": [
        Change({"disks": (ROOT, ONE)}, None, {"disks": {"root", "one"}}),
        Change({"disks": (ROOT, replace(TWO, copy_of="one"))}, False, {"disks": {"root", "two"}}),
        Change({"disks": (ROOT, TWO)}, False, {"disks": {"root", "two"}}),
        Change({"disks": (ROOT, replace(LARGE, copy_of="two"))}, False, {"disks": {"root", "large"}}),
        Change({"disks": (ROOT, LARGE), "boots": 2}, True, {"disks": {"root", "large"}}),
    ],
    "rebuild": [
        Change({"disks": (ROOT, DATA), "config_drive": DRIVE}, None),
        Change({"disks": (NEW_ROOT, DATA), "boots": 2}, True, {"disks": {"new-root", "data"}}),
    ],
    "resize holds from the next boot on": [
        Change({}, None),
        Change({"vcpus": 2, "memory_mb": 192}, False, {"vcpus": 1, "memory_mb": 128}),
        Change({"boots": 2}, True, {"vcpus": 2, "memory_mb": 192}),
    ],
    "a disk grows at the next boot": [
        Change({}, None),
        Change({"disks": (replace(ROOT, size_gb=2),)}, False, {"disks": {"root"}}),
        Change({"boots": 2}, True, {"power": ON, "disks": {"root"}}),
        Change({"disks": (ROOT,), "power": OFF}, None, {"power": OFF}),
    ],
    "a rescue system comes first, and goes": [
        Change({}, None),
        Change({"disks": (NEW_ROOT, ROOT), "boots": 2}, True, {"disks": {"root", "new-root"}}),
        Change({"disks": (ROOT,), "boots": 3}, True, {"power": ON, "disks": {"root"}}),
    ],
    "a new name needs no boot": [Change({}, None), Change({"name": "Zoë <&> \x07"}, False, {"power": ON})],
    "a config drive": [Change({"config_drive": DRIVE}, None, {"disks": {"root"}})],
    "a blank disk only": [Change({"disks": (DATA,)}, None, {"power": ON, "disks": {"data"}})],
    "a deaf guest is stopped by force": [
        Change({}, None),
        Change({"power": OFF, "soft": True, "soft_seconds": 1}, None, {"power": OFF}),
    ],
}


async def apply(host: Host, wanted: Machine) -> Seen:
    return await host.driver.apply(wanted, {"empty": host.image("empty")}, lambda _step, _percent: None)


def agrees(seen: Seen, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert getattr(seen, name) == value, name


@pytest.mark.parametrize("case", CASES)
async def test_case(host: Host, case: str) -> None:
    await host.volumes()
    wanted = machine()
    for change in CASES[case]:
        before = host.incarnation(wanted.id) if change.restarted is not None else None
        wanted = replace(wanted, **change.want)
        seen = await apply(host, wanted)
        agrees(seen, change.see)
        if change.restarted is not None:
            assert (host.incarnation(wanted.id) != before) is change.restarted
        assert await host.driver.read() == {wanted.id: seen}
        running = seen.power in (ON, PAUSED)
        now = host.incarnation(wanted.id) if running else None
        # A second time changes nothing, nor does it for a process that knows nothing of the first time.
        assert await apply(host, wanted) == seen
        assert not running or host.incarnation(wanted.id) == now
        assert await host.driver.disks() == {disk.key: wanted.id for disk in wanted.disks if not disk.source}
    await host.driver.remove(wanted.id)
    await host.driver.remove(wanted.id)
    assert await host.driver.read() == {}
    assert await host.driver.disks() == {}
    assert await host.driver.console_log(wanted.id) == b""


@dataclass(frozen=True)
class Refusal:
    """A machine that cannot be, and why."""

    want: dict[str, Any]
    error: type[HaganeError]
    words: str


REFUSALS = {
    "no such image": Refusal({"disks": (Disk("root", 1, "unknown"),)}, DeviceFailed, "nobody has the bytes"),
    "image larger than disk": Refusal({"disks": (Disk("root", 1, "large"),)}, DeviceFailed, "needs 2.0 GB"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusal(host: Host, name: str) -> None:
    case, wanted = REFUSALS[name], machine()
    images = {"large": host.image("large", 2 << 30)}
    with pytest.raises(case.error, match=case.words):
        await host.driver.apply(replace(wanted, **case.want), images, lambda _step, _percent: None)
    assert await host.driver.read() == {}
    await host.driver.remove(wanted.id)
    assert await host.driver.disks() == {}


async def test_many_at_once_share_one_upload(host: Host) -> None:
    steps: list[tuple[str, int]] = []
    image = host.image("empty", 8 << 20)
    wanted = [machine(nics=(nic(number),)) for number in range(1, 9)]
    wanted = [replace(one, disks=(Disk(f"root-{number}", 1, "empty"),)) for number, one in enumerate(wanted)]
    seen = await asyncio.gather(
        *(
            host.driver.apply(one, {"empty": image}, lambda step, percent: steps.append((step, percent)))
            for one in wanted
        )
    )
    assert {one.power for one in seen} == {ON}
    assert set(await host.driver.read()) == {one.id for one in wanted}
    assert steps.count(("start", 100)) == 8
    assert await host.driver.sweep_images(set()) == set()
    await asyncio.gather(*(host.driver.remove(one.id) for one in wanted))
    assert await host.driver.sweep_images({"empty"}) == set()
    assert await host.driver.sweep_images(set()) == {"empty"}


async def test_a_machine_that_dies_is_seen_and_starts_again(host: Host) -> None:
    wanted = machine()
    await apply(host, wanted)
    told: list[str] = []
    host.driver.watch(told.append)
    await host.kill(wanted.id)
    async with asyncio.timeout(5):
        while wanted.id not in told:
            await asyncio.sleep(0.01)
    seen = (await host.driver.read())[wanted.id]
    assert (seen.power, seen.reason) == (Power.CRASHED, "QEMU ended unexpectedly")
    agrees(await apply(host, replace(wanted, boots=2)), {"power": ON, "boots": 2})


async def test_a_host_that_is_away_says_so_and_comes_back(host: Host) -> None:
    wanted = machine()
    seen = await apply(host, wanted)
    told: list[str] = []
    host.driver.watch(told.append)
    await host.away()
    try:
        for call in (host.driver.read, host.driver.facts, host.driver.disks, lambda: apply(host, wanted)):
            with pytest.raises(Unavailable, match="does not answer"):
                await call()
        with pytest.raises(Unavailable):
            await host.driver.remove(wanted.id)
    finally:
        await host.back()
    async with asyncio.timeout(20):
        while told.count("") < 2:
            await asyncio.sleep(0.05)
    assert await host.driver.read() == {wanted.id: seen}


async def test_another_process_finds_everything(host: Host) -> None:
    wanted = machine(nics=(nic(1), nic(2)))
    seen = await apply(host, wanted)
    other = host.again()
    await other.connect()
    assert await other.read() == {wanted.id: seen}
    assert await other.apply(wanted, {}, lambda _step, _percent: None) == seen
    await other.close()


async def cut_off(host: Host, wanted: Machine, steps: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Apply, in a process that dies after so many steps; whether it came to the end."""
    original, done = type(host.driver)._do, 0  # type: ignore[attr-defined]

    async def until_cut(self: Any, *args: Any) -> None:
        nonlocal done
        if done == steps:
            raise asyncio.CancelledError
        done += 1
        await original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(type(host.driver), "_do", until_cut)
        try:
            await apply(host, wanted)
        except asyncio.CancelledError:
            return False
    return True


async def test_cut_off_between_any_two_steps_it_still_ends_well(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies after the first step, the second, ...; a new one goes on from there."""
    first = machine(config_drive=DRIVE)
    wanted = replace(first, disks=(NEW_ROOT, DATA), nics=(nic(2),), boots=2, vcpus=2)
    for cut in range(12):
        await apply(host, first)
        ended = await cut_off(host, wanted, cut, monkeypatch)
        agrees(
            await apply(host, wanted),
            {"power": ON, "boots": 2, "vcpus": 2, "nics": {nic(2).port_id}, "disks": {"new-root", "data"}},
        )
        assert set(await host.driver.disks()) == {"new-root", "data"}
        await host.driver.remove(wanted.id)
        if ended:
            return
    raise AssertionError("more steps than expected")


async def test_cut_off_while_volumes_change_under_a_running_machine(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.volumes()
    before = machine(disks=(ROOT, replace(ONE, bus="scsi")))
    wanted = replace(before, disks=(ROOT, replace(TWO, bus="scsi")))
    started = (await apply(host, before)) and host.incarnation(before.id)
    for cut in range(5):
        await apply(host, before)
        await cut_off(host, wanted, cut, monkeypatch)
        agrees(await apply(host, wanted), {"disks": {"root", "two"}})
        assert host.incarnation(before.id) == started
        agrees(await apply(host, replace(wanted, power=OFF)), {"disks": {"root", "two"}, "power": OFF})
        agrees(await apply(host, before), {"disks": {"root", "one"}})
        started = host.incarnation(before.id)


async def test_facts(host: Host) -> None:
    facts = await host.driver.facts()
    assert facts.vcpus > 0 and facts.memory_mb > 0 and facts.disk_gb > 0
    assert (facts.kind, facts.cpu["arch"]) == ("QEMU", "x86_64")
    assert facts.version >= 7_000_000
    assert re.search(r" up .+,  ?\d+ users?,  load average: ", facts.uptime or "")


async def test_snapshot(host: Host) -> None:
    wanted = machine()
    await apply(host, wanted)
    for power in (ON, PAUSED, OFF):
        await apply(host, replace(wanted, power=power))
        content = io.BytesIO()
        async for part in host.driver.snapshot(wanted.id, "root"):
            content.write(part)
        header = content.getvalue()[:32]
        assert header[:4] == b"QFI\xfb"
        assert int.from_bytes(header[8:16], "big") == 0, "it is flat"
        assert int.from_bytes(header[24:32], "big") == 1 << 30
    with pytest.raises(NotFound):
        await anext(host.driver.snapshot(wanted.id, "no-such-disk"))
    assert await host.driver.disks() == {"root": wanted.id}


async def test_a_disk_is_made_of_the_copy_of_another(host: Host, tmp_path: Path) -> None:
    """As a machine does that goes to another Host: larger than it was, and nothing of the old one is needed."""
    old = machine(power=OFF)
    await apply(host, old)
    copy = tmp_path / "copy.qcow2"
    with copy.open("wb") as file:
        async for part in host.driver.snapshot(old.id, "root"):
            file.write(part)
    await host.driver.remove(old.id)
    base = BaseImage("move-copy", copy, "qcow2", copy.stat().st_size, 1 << 30)
    new = machine(disks=(Disk("moved", 2, "move-copy"),))
    seen = await host.driver.apply(new, {"move-copy": base}, lambda _step, _percent: None)
    agrees(seen, {"power": ON, "disks": {"moved"}})
    assert await host.driver.sweep_images(set()) <= {"empty"}
    agrees(await host.driver.apply(replace(new, boots=2), {}, lambda _step, _percent: None), {"power": ON, "boots": 2})
    await host.driver.remove(new.id)
    assert "move-copy" in await host.driver.sweep_images(set())


@pytest.mark.real
async def test_a_running_machine_is_held_to_the_limits_of_its_volumes(place: RealPlace, tmp_path: Path) -> None:
    import libvirt

    limits = {"read_iops_sec": "500", "total_bytes_sec": "1000000", "vendor": "x"}
    slow = replace(ONE, source=Source(ONE.source.kind, {**ONE.source.data, "qos_specs": limits})) if ONE.source else ONE
    async with libvirt_host(tmp_path, place) as host:
        await host.volumes()
        wanted = machine()
        await apply(host, wanted)
        await apply(host, replace(wanted, disks=(ROOT, slow, TWO)))
        connection = libvirt.open(place.uri)
        try:
            domain = connection.lookupByUUIDString(wanted.id)
            found = [domain.blockIoTune(device) for device in ("vda", "vdb", "vdc")]
        finally:
            connection.close()
        held = [(tune["read_iops_sec"], tune["total_bytes_sec"], tune["write_iops_sec"]) for tune in found]
        assert held == [(0, 0, 0), (500, 1_000_000, 0), (0, 0, 0)]


async def test_console(host: Host) -> None:
    wanted = machine(disks=(Disk("root", 1, "guest"),), memory_mb=256, config_drive=DRIVE)
    await host.driver.apply(wanted, {"guest": host.guest()}, lambda _step, _percent: None)
    await host.booted(wanted.id)
    output, send = await host.driver.console(wanted.id)
    await send(b"\recho one-$((1+1))-three\r")
    await until(output, b"one-2-three" if isinstance(host, LibvirtHost) else b"echo one")
    with pytest.raises(Conflict):
        await host.driver.console(wanted.id)
    other, send = await host.driver.console(wanted.id, force=True)
    await until(output, None)
    await send(b"\recho four-$((2+3))-six\r")
    await until(other, b"four-5-six" if isinstance(host, LibvirtHost) else b"echo four")
    await other.aclose()
    again, _ = await host.driver.console(wanted.id)
    await apply(host, replace(wanted, power=OFF))
    await until(again, None)
    with pytest.raises(Unavailable):
        await host.driver.console(wanted.id)
    log = await host.driver.console_log(wanted.id)
    assert b"SeaBIOS" in log


async def until(output: Any, pattern: bytes | None) -> None:
    """Read until the pattern, or with None until the end."""
    content = b""
    async with asyncio.timeout(15):
        async for data in output:
            content += data
            if pattern is not None and pattern in content:
                return
    assert pattern is None, content


async def says(host: Host, machine_id: str, command: str, pattern: bytes) -> None:
    """Run a command in the guest, by its console, until it prints a line."""
    output, send = await host.driver.console(machine_id, force=True)
    async with contextlib.aclosing(output):
        await send(f"\n{command}\n".encode())
        content = b""
        async with asyncio.timeout(30):
            async for data in output:
                content += data
                if re.search(rb"\n" + pattern, content):
                    return
    pytest.fail(repr(content))


async def test_a_guest_that_listens(host: Host) -> None:
    """It shuts down when asked, lets go of a NIC and a disk, and its console log outlives a reboot."""
    wanted = machine(disks=(Disk("root", 1, "guest"), DATA), nics=(nic(1), nic(2)), memory_mb=256, config_drive=DRIVE)
    await host.driver.apply(wanted, {"guest": host.guest()}, lambda _step, _percent: None)
    await host.booted(wanted.id)
    before = host.incarnation(wanted.id)
    wanted = replace(wanted, disks=wanted.disks[:1], nics=(nic(2),))
    agrees(await apply(host, wanted), {"disks": {"root"}, "nics": {nic(2).port_id}})
    assert host.incarnation(wanted.id) == before
    assert await host.driver.disks() == {"root": wanted.id}
    log = await host.driver.console_log(wanted.id)
    assert not isinstance(host, LibvirtHost) or b"metadata=config-drive" in log
    wanted = replace(wanted, disks=(wanted.disks[0], Disk("later", 1, device="/dev/vdb")))
    agrees(await apply(host, wanted), {"disks": {"root", "later"}})
    if isinstance(host, LibvirtHost):
        await says(host, wanted.id, "until grep later /sys/block/vdb/serial; do sleep 1; done", b"later\r?\n")
    wanted = replace(wanted, soft=True, boots=2)
    agrees(await apply(host, wanted), {"power": ON, "boots": 2})
    assert host.incarnation(wanted.id) != before
    assert (await host.driver.console_log(wanted.id)).startswith(log[:200])
    wanted = replace(wanted, power=OFF, soft=False)
    await apply(host, wanted)
