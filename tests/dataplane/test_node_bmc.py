"""Nodes behind emulated BMCs that speak Redfish and IPMI to a real QEMU: taken over, inspected, commanded, watched."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.bmc.base import BmcAccess
from hagane.reconcile.node_power import FAULT, SLICES, TRIES
from tests.conformance.bmcs import EmulatedRig, ipmi_rig, redfish_rig
from tests.scenarios.node_world import World, world

pytestmark = pytest.mark.real
PLAIN = {"deploy_interface": "direct", "network_interface": "noop", "rescue_interface": "agent"}


def _info(rig: EmulatedRig, kind: str, password: str = "") -> dict[str, Any]:
    """How the rig's own driver reaches its BMC, as driver_info."""
    access: BmcAccess = rig.driver._access  # type: ignore[attr-defined]
    info = {f"{kind}_address": access.address, f"{kind}_username": access.username,
            f"{kind}_password": password or access.password}  # fmt: skip
    return info | ({"redfish_verify_ca": False} if kind == "redfish" else {"ipmi_port": access.port})


async def _until_done(w: World, node: str) -> None:
    async def done() -> bool:
        return not (await w.row(node))["wanted"]

    await w.until(done, 60)


async def _look(w: World) -> None:
    w.part.power._silent.clear()  # as if the whole interval had passed
    for number in range(SLICES):
        await w.part.power.look(number)


async def test_a_redfish_machine_is_taken_over_inspected_and_commanded(tmp_path: Path) -> None:
    (tmp_path / "bmc").mkdir()
    async with redfish_rig(tmp_path / "bmc") as rig, world(tmp_path) as w:
        assert isinstance(rig, EmulatedRig)
        w.times.device = w.times.network = 60.0
        node = await w.enrol(**PLAIN, driver="redfish", inspect_interface="redfish", driver_info=_info(rig, "redfish"))
        await w.reach(node, "manage", "manageable")
        shown = (await w.http.get(f"/nodes/{node}/bios")).json()["bios"]
        assert {one["name"] for one in shown} == {"BootMode", "NetworkBoot"}
        await w.reach(node, "inspect", "manageable")
        found = (await w.http.get(f"/nodes/{node}/inventory")).json()["inventory"]
        assert [nic["mac_address"] for nic in found["interfaces"]] == list(rig.macs)
        nics = (await w.http.get(f"/nodes/{node}/ports")).json()["ports"]
        assert sorted(nic["address"] for nic in nics) == sorted(rig.macs)
        device = {"boot_device": "pxe", "persistent": False}
        assert (await w.http.put(f"/nodes/{node}/management/boot_device", json=device)).status_code == 204
        media = {"device_type": "cdrom", "image_url": rig.image}
        assert (await w.http.post(f"/nodes/{node}/vmedia", json=media)).status_code == 204
        await _until_done(w, node)
        assert (await w.http.get(f"/nodes/{node}/management/boot_device")).json() == device
        assert (await w.http.get(f"/nodes/{node}/vmedia")).json()[0]["image"] == rig.image
        await _power_is_watched(w, node, rig)


async def _power_is_watched(w: World, node: str, rig: EmulatedRig) -> None:
    """Switched on, off by hand and so on again; lost and found."""
    put: Callable[..., Awaitable[Any]] = w.http.put
    assert (await put(f"/nodes/{node}/states/power", json={"target": "power on"})).status_code == 202
    await _until_done(w, node)
    assert (await w.row(node))["power_state"] == "power on" and rig.machine.pid()
    await rig.lose_power()
    await _look(w)
    assert rig.machine.pid() and (await w.row(node))["power_state"] == "power on"
    await rig.fault("password")
    for _ in range(TRIES):
        await _look(w)
    assert (await w.row(node))["fault"] == FAULT
    await rig.fault("")
    await _look(w)
    row = await w.row(node)
    assert (row["fault"], row["maintenance"], row["power_state"]) == (None, False, "power on")


async def test_an_ipmi_machine_has_its_console(tmp_path: Path) -> None:
    (tmp_path / "bmc").mkdir()
    async with ipmi_rig(tmp_path / "bmc") as rig, world(tmp_path) as w:
        assert isinstance(rig, EmulatedRig)
        w.times.device = 60.0
        wrong = await w.enrol(**PLAIN, driver="ipmi", driver_info=_info(rig, "ipmi", "not-this"))
        assert (await w.ask(wrong, "manage")).status_code == 202
        row = await w.at(wrong, "enroll", 60)
        assert "Failed to verify the BMC" in row["last_error"] and "not-this" not in str(row)
        node = await w.enrol(**PLAIN, driver="ipmi", driver_info=_info(rig, "ipmi"))
        await w.reach(node, "manage", "manageable")
        await rig.listens()
        assert (await w.http.put(f"/nodes/{node}/states/console", json={"enabled": True})).status_code == 202
        assert (await w.http.put(f"/nodes/{node}/states/power", json={"target": "power on"})).status_code == 202
        await _until_done(w, node)
        await rig.booted()
        output, type_in = await w.part.consoles.live(node)

        async def echoes() -> bool:
            await type_in(b"x")
            return b"x" in await w.part.consoles.log(node)

        await w.until(echoes, 60)
        await output.aclose()
