"""The emulated BMCs as a rack: many in one process, both protocols on one machine, what goes wrong, TLS, UEFI."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.bmc import ipmitool
from hagane.drivers.bmc import plan as step
from hagane.drivers.bmc.base import BmcAccess, BmcDesired, Boot, BootDevice, BootMode, Power
from hagane.drivers.bmc.ipmi import IpmiBmc
from hagane.errors import DeviceFailed, Unavailable
from hagane.lab.bmc.faults import FaultFile, Faults
from hagane.lab.bmc.qemu import Drive, MachineSpec, argv
from hagane.lab.bmc.serve import Rack, rack

pytestmark = pytest.mark.real
ON, OFF = Power.ON, Power.OFF
NAMES = ("bm-1", "bm-2", "bm-3")
OPEN: list[Any] = []  # drivers to close, while their BMCs still answer


def described(folder: Path, **more: Any) -> dict[str, Any]:
    common = {"username": "admin", "password": "secret", "paused": True, "memory_mb": 32}
    each = [
        {**common, "name": name, "uuid": str(uuid.uuid4()), "folder": str(folder / name), **more,
         "redfish": ["127.0.0.1", 0], "ipmi": ["127.0.0.1", 0]}
        for name in NAMES
    ]  # fmt: skip
    return {"machines": each}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Rack]:
    whole = rack(described(tmp_path))
    await whole.start()
    yield whole
    await let_go()
    for machine in whole.machines.values():
        await machine.off()
    await whole.stop()


async def let_go() -> None:
    for bmc in OPEN:
        with contextlib.suppress(DeviceFailed, Unavailable):
            await bmc.close()
    OPEN.clear()


def over_ipmi(lab: Rack, number: int) -> IpmiBmc:
    return IpmiBmc(BmcAccess("127.0.0.1", "admin", "secret", port=lab.ipmi.fronts[number].port, timeout=5.0))


def over_redfish(lab: Rack, number: int, **access: Any) -> Any:
    from hagane.drivers.bmc.redfish import RedfishBmc

    told = {"address": f"http://127.0.0.1:{lab.redfish.fronts[number].port}", "timeout": 5.0, **access}
    bmc = RedfishBmc(BmcAccess(username="admin", password="secret", **told), ipmi=over_ipmi(lab, number))
    OPEN.append(bmc)
    return bmc


async def test_one_process_serves_many_and_both_protocols_show_one_machine(lab: Rack) -> None:
    await over_ipmi(lab, 1).apply(BmcDesired(power=ON))
    powers = await asyncio.gather(*(over_redfish(lab, number).power() for number in range(3)))
    assert powers == [OFF, ON, OFF]
    boot = Boot(BootDevice.PXE, persistent=True)
    await over_redfish(lab, 2).apply(BmcDesired(boot=boot, boot_mode=BootMode.UEFI))
    seen = await over_ipmi(lab, 2).read()
    assert (seen.boot, seen.boot_mode) == (boot, BootMode.UEFI)


async def test_a_dead_one_disturbs_nobody(lab: Rack) -> None:
    FaultFile(lab.machines["bm-1"].spec.folder).put(Faults(dead=True))
    dead = asyncio.create_task(over_redfish(lab, 0, timeout=1.0).power())
    assert await over_redfish(lab, 1).power() == OFF
    assert await over_ipmi(lab, 2).power() == OFF
    with pytest.raises(Unavailable, match="no answer"):
        await dead


async def test_a_bmc_that_takes_orders_and_does_nothing(lab: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "SETTLE_SECONDS", 0.3)
    FaultFile(lab.machines["bm-1"].spec.folder).put(Faults(stuck=True))
    for bmc in (over_redfish(lab, 0), over_ipmi(lab, 0)):
        with pytest.raises(Unavailable, match="took the order, but the machine is not on"):
            await bmc.apply(BmcDesired(power=ON))


async def test_the_console_of_a_redfish_machine_is_that_of_ipmi(lab: Rack) -> None:
    bmc = over_redfish(lab, 0)
    await bmc.apply(BmcDesired(power=ON))
    output, send = await bmc.console()
    await send(b"x")
    await output.aclose()
    with pytest.raises(Unavailable, match="has ended"):
        await send(b"y")


async def test_unknown_system_and_image_that_is_not_there(lab: Rack) -> None:
    from hagane.drivers.bmc.base import Slot

    with pytest.raises(DeviceFailed, match="no such system"):
        await over_redfish(lab, 0, system="/redfish/v1/Systems/other").read()
    with pytest.raises(DeviceFailed, match="cannot fetch"):
        await over_redfish(lab, 0).apply(BmcDesired(media={Slot.CD: "http://127.0.0.1:1/none.iso"}))


async def test_nobody_answers_there() -> None:
    with pytest.raises(Unavailable, match="no answer"):
        await IpmiBmc(BmcAccess("127.0.0.1", "admin", "secret", port=9, timeout=1.0)).power()


def test_the_password_is_not_on_the_command_line() -> None:
    assert "secret" not in " ".join(ipmitool._argv(BmcAccess("127.0.0.1", "admin", "secret")))


async def test_tls_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    pair = tmp_path / "bmc.crt", tmp_path / "bmc.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1", "-out", *map(str, pair[:1]), "-keyout", str(pair[1])]  # fmt: skip
    await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
    whole = rack({**described(tmp_path), "certificate": str(pair[0]), "key": str(pair[1])})
    await whole.start()
    try:
        address = f"https://127.0.0.1:{whole.redfish.fronts[0].port}"
        with pytest.raises(DeviceFailed, match="TLS certificate is not trusted"):
            await over_redfish(whole, 0, address=address).power()
        assert await over_redfish(whole, 0, address=address, verify=str(pair[0])).power() == OFF
    finally:
        await let_go()
        await whole.stop()


async def test_uefi_firmware_runs(tmp_path: Path) -> None:
    whole = rack(described(tmp_path, paused=False, memory_mb=128, mode="uefi"))
    machine = whole.machines["bm-1"]
    await machine.on()
    try:
        async with asyncio.timeout(60):
            while b"BdsDxe" not in (
                machine.spec.console_log.read_bytes() if machine.spec.console_log.exists() else b""
            ):
                await asyncio.sleep(0.2)
    finally:
        await machine.off()


def test_the_boot_device_decides_the_order(tmp_path: Path) -> None:
    from hagane.lab.bmc.qemu import Nic

    spec = MachineSpec("bm", str(uuid.uuid4()), tmp_path, disks=(tmp_path / "disk",), nics=(Nic("52:54:00:00:00:01"),))
    firsts = {"": "virtio-blk", "disk": "virtio-blk", "pxe": "virtio-net", "http": "virtio-net", "cdrom": "scsi-cd"}
    for boot, first in firsts.items():
        words = argv(spec, boot, "uefi", (Drive("cd", None), Drive("usb", None)))
        assert next(word for word in words if word.endswith("bootindex=1")).startswith(first)
        assert ("name=opt/org.tianocore/IPv4PXESupport,string=n" in words) == (boot == "http")


async def test_the_process_ends_and_its_machines_run_on(tmp_path: Path) -> None:
    description, pid_file = tmp_path / "rack.json", tmp_path / "pid"
    description.write_text(json.dumps(described(tmp_path)))
    words = [sys.executable, "-m", "hagane.lab.bmc.serve", str(description), str(pid_file)]
    process = await asyncio.to_thread(subprocess.Popen, words)
    try:
        async with asyncio.timeout(20):
            while not pid_file.exists():
                await asyncio.sleep(0.05)
        first = rack(json.loads(description.read_text())).machines["bm-1"]
        await first.on()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert not pid_file.exists()
        again = rack(json.loads(description.read_text())).machines["bm-1"]
        assert again.pid() == first.pid() is not None
        await again.off()
        assert first.pid() is None
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def test_what_the_bmc_remembers_outlives_it(tmp_path: Path) -> None:
    whole = rack(described(tmp_path))
    whole.machines["bm-1"].set_mode("uefi")
    whole.machines["bm-1"].set_boot("pxe", persistent=True)
    assert rack(described(tmp_path)).machines["bm-1"].settings == replace(whole.machines["bm-1"].settings)
