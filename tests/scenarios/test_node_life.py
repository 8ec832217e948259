"""The life of a Node on simulated machines whose ramdisks call back as real ones do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hagane.baremetal import node_progress
from hagane.baremetal.nic import Nics
from hagane.baremetal.node import NODE
from hagane.baremetal.node_console import NodeConsole
from hagane.drivers.bmc.base import BootDevice
from hagane.reconcile.node_sim import inventory
from tests.scenarios.node_world import World, world

ERASED = ["clean.get_clean_steps", "clean.execute_clean_step:erase_devices_metadata"]
WRITTEN = ["deploy.get_deploy_steps", "standby.prepare_image", "image.install_bootloader", "standby.sync"]


async def test_from_enroll_to_active_and_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.available()
        assert w.machine(node).did == ERASED
        assert await w.leaks(node) == {}
        await w.instance(node)
        row = await w.reach(node, "active", "active")
        assert w.machine(node).did == ERASED + WRITTEN
        assert (row["power_state"], row["target_provision_state"], row["last_error"]) == ("power on", None, None)
        boot = w.machine(node).boot
        assert boot is not None and boot.persistent and boot.device is BootDevice.DISK
        names = [step["step"] for step in row["seen"]["steps"] if step["step"] in node_progress.DEPLOYMENT]
        assert names == list(node_progress.DEPLOYMENT[:9])
        names = [step["step"] for step in row["seen"]["steps"]]
        assert names[names.index("tenant-switch") - 1] == "power-off"
        assert all(step["result"] == "Success" and step["finished_at"] for step in row["seen"]["steps"])
        row = await w.reach(node, "deleted", "available")
        assert row["instance_info"] == {} and row["instance_id"] is None
        assert w.machine(node).did == ERASED + WRITTEN + ERASED
        assert await w.leaks(node) == {}
        told = await w.history(node)
        assert any(line.startswith("write-image: ") for line in told) and "deploying ended" in told


async def test_rebuild_writes_the_image_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        assert (await w.ask(node, "rebuild", configdrive={"user_data": "#!/bin/sh"})).status_code == 202
        await w.at(node, "active")
        assert w.machine(node).did == ERASED + WRITTEN + WRITTEN


async def test_an_inspection_fills_in_what_the_ramdisk_found(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        row = await w.reach(node, "inspect", "manageable")
        assert row["properties"] == {"cpus": 8, "cpu_arch": "x86_64", "memory_mb": 16384, "local_gb": 99}
        assert row["boot_mode"] == "uefi" and row["inspection_finished_at"]
        (nic,) = await Nics.table.select(w.db, {"node_id": node})
        assert nic["link"] == {"switch_id": "52:54:01:00:00:02", "port_id": node[:8], "switch_info": "sim-tor"}
        assert nic["pxe_enabled"]
        assert await w.leaks(node) == {}
        await w.reach(node, "inspect", "manageable")
        assert await Nics.table.count(w.db, {"node_id": node}) == 1


async def test_an_agent_that_asks_who_it_is_while_it_inspects_leaves_no_step_open(tmp_path: Path) -> None:
    """The original one does, after it has sent what it found."""
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        w.machine(node).wrong.mute = True
        await w.reach(node, "inspect", "inspect wait")

        async def started() -> bool:
            return bool((await w.row(node))["seen"]["life"]["phase"] == "data")

        await w.until(started)
        await w.fleet.gate.lookup(node, [])
        await w.fleet.gate.found(node, [], inventory(node))
        await w.at(node, "manageable")
        assert await w.leaks(node) == {}


async def test_rescue_and_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        row = await w.reach(node, "rescue", "rescue", rescue_password="let-me-in")
        assert w.machine(node).did[-1] == "rescue.finalize_rescue"
        assert "rescue_password" not in row["instance_info"] and row["power_state"] == "power on"
        starts = w.machine(node).starts
        await w.reach(node, "unrescue", "active")
        assert w.machine(node).starts == starts + 1


async def test_manual_cleaning_takes_the_steps_in_the_order_of_the_request(tmp_path: Path) -> None:
    steps = [{"interface": "deploy", "step": "burnin_cpu", "args": {"seconds": 1}},
             {"interface": "deploy", "step": "wait", "args": {"seconds": 0.05}},
             {"interface": "deploy", "step": "erase_devices"}]  # fmt: skip
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        row = await w.reach(node, "clean", "manageable", clean_steps=steps)
        assert w.machine(node).did == [
            "clean.get_clean_steps", "clean.execute_clean_step:burnin_cpu", "clean.execute_clean_step:erase_devices",
        ]  # fmt: skip
        assert row["clean_step"] == {}
        unknown = [{"interface": "deploy", "step": "no_such_step"}]
        row = await w.reach(node, "clean", "clean failed", clean_steps=unknown)
        assert "no clean step 'no_such_step'" in row["last_error"]
        assert await w.leaks(node) == {}


@pytest.mark.parametrize("disable_ramdisk", [False, True])
async def test_bios_settings_are_applied_by_another_start(tmp_path: Path, disable_ramdisk: bool) -> None:
    apply = {"interface": "bios", "step": "apply_configuration",
             "args": {"settings": [{"name": "TurboMode", "value": "Disabled"}]}}  # fmt: skip
    other: list[dict[str, Any]] = [] if disable_ramdisk else [{"interface": "deploy", "step": "erase_devices"}]
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        more = {"disable_ramdisk": disable_ramdisk}
        await w.reach(node, "clean", "manageable", clean_steps=[apply, *other], **more)
        assert w.machine(node).starts == (1 if disable_ramdisk else 2)
        assert w.machine(node).did.count("clean.execute_clean_step:erase_devices") == len(other)
        shown = (await w.http.get(f"/nodes/{node}/bios/TurboMode")).json()
        assert shown["TurboMode"]["value"] == "Disabled"
        reset = [{"interface": "bios", "step": "factory_reset"}]
        await w.reach(node, "clean", "manageable", clean_steps=reset, **more)
        assert (await w.http.get(f"/nodes/{node}/bios/TurboMode")).json()["TurboMode"]["value"] == "Enabled"


@pytest.mark.parametrize(("settings", "words"), [
    ([{"name": "Colour", "value": "red"}], "has no BIOS setting Colour"),
    ([{"name": "TurboMode"}], "takes settings: a list of name and value"),
    ([], "takes settings: a list of name and value"),
])  # fmt: skip
async def test_bios_settings_that_there_are_not(tmp_path: Path, settings: list[dict[str, Any]], words: str) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        steps = [{"interface": "bios", "step": "apply_configuration", "args": {"settings": settings}}]
        row = await w.reach(node, "clean", "clean failed", clean_steps=steps)
        assert words in row["last_error"] and await w.leaks(node) == {}


async def test_hold_waits_for_an_operator(tmp_path: Path) -> None:
    steps = [{"interface": "deploy", "step": "hold"}, {"interface": "deploy", "step": "erase_devices"}]
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        await w.reach(node, "clean", "clean hold", clean_steps=steps)
        assert w.machine(node).did == ["clean.get_clean_steps"]
        await w.reach(node, "unhold", "manageable")
        assert w.machine(node).did[-1] == "clean.execute_clean_step:erase_devices"
        await w.reach(node, "clean", "clean hold", clean_steps=steps)
        await w.reach(node, "abort", "clean failed")
        assert await w.leaks(node) == {}


async def test_a_deploy_template_adds_steps_by_the_tenants_traits(tmp_path: Path) -> None:
    step = {"interface": "deploy", "step": "erase_devices_metadata", "args": {}, "priority": 90}
    async with world(tmp_path) as w:
        assert (
            await w.http.post("/deploy_templates", json={"name": "CUSTOM_WIPE", "steps": [step]})
        ).status_code == 201
        node = await w.available()
        await w.instance(node, traits=["CUSTOM_WIPE"])
        await w.reach(node, "active", "active")
        assert w.machine(node).did[3:5] == [
            "deploy.execute_deploy_step:erase_devices_metadata",
            "standby.prepare_image",
        ]


async def test_service_and_adoption(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        steps = [{"interface": "deploy", "step": "burnin_cpu", "args": {}}]
        row = await w.reach(node, "service", "active", service_steps=steps)
        assert w.machine(node).did[-1] == "service.execute_service_step:burnin_cpu"
        assert row["power_state"] == "power on"
        other = await w.enrol()
        await w.reach(other, "manage", "manageable")
        w.machine(other).on = True
        await w.instance(other)
        row = await w.reach(other, "adopt", "active")
        assert row["power_state"] == "power on" and w.machine(other).did == []


@pytest.mark.parametrize("automated_clean", [True, False])
async def test_cleaning_is_left_out_only_where_it_is_switched_off(tmp_path: Path, automated_clean: bool) -> None:
    async with world(tmp_path) as w:
        node = await w.available(automated_clean=automated_clean)
        did = w.machine(node).did if node in w.fleet.machines else []
        assert did == (ERASED if automated_clean else [])


async def test_a_ramdisk_that_erases_nothing_cleans_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        w.machine(node).wrong.steps = []
        row = await w.reach(node, "provide", "clean failed")
        assert "no step that erases the disks" in row["last_error"]
        assert await w.leaks(node) == {}


async def test_long_commands_are_polled_and_told_live(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.fleet.times.command = w.fleet.times.boot = 0.1
        node = await w.available()
        await w.instance(node)
        assert (await w.ask(node, "active")).status_code == 202

        async def writing() -> bool:
            steps = (await w.row(node))["seen"].get("steps") or []
            return any(step["step"] == "write-image" and step["finished_at"] is None for step in steps)

        await w.until(writing)
        row = await w.row(node)
        assert row["provision_state"] == "wait call-back" and row["deploy_step"]["step"] == "write_image"
        await w.at(node, "active")


async def test_what_others_see_happen_becomes_a_step(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        assert await w.db.write(lambda tx: node_progress.note(tx, node, "tenant-dhcp", message="10.0.0.5"))
        assert not await w.db.write(lambda tx: node_progress.note(tx, node, "tenant-dhcp"))
        assert "tenant-dhcp: 10.0.0.5" in await w.history(node)


async def test_the_console_is_reached_by_a_token(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.active()
        answer = await w.http.get(f"/nodes/{node}/states/console")
        assert answer.json() == {"console_enabled": False, "console_info": None}
        assert (await w.http.put(f"/nodes/{node}/states/console", json={"enabled": True})).status_code == 202
        info = (await w.http.get(f"/nodes/{node}/states/console")).json()["console_info"]
        assert info["type"] == "websocket"
        output, type_in = await w.cloud.use(NodeConsole).live(node)  # type: ignore[type-abstract]
        await type_in(b"hello")
        async for chunk in output:
            assert chunk == b"hello"
            break
        await output.aclose()
        assert await w.part.consoles.log(node) == b"hello" and w.part.consoles.last(node) == "hello"
        path, _, query = info["url"].partition("://cloud")[2].partition("?")
        assert await _closed(w, path, query.replace("token=", "token=x")) == 1008
        assert await _closed(w, path, query) is None


async def test_a_console_ends_with_the_tenant(tmp_path: Path) -> None:
    """Who looked at it sees nothing of the machine's cleaning, and the next one nothing of them."""
    async with world(tmp_path) as w:
        node, consoles = await w.active(), w.part.consoles
        await w.patch(node, instance_uuid="6f1c1f6e-0d5c-4a2f-9f3a-0d7f0a3b1c11")
        output, type_in = await consoles.live(node)
        await type_in(b"a secret")
        assert await anext(output) == b"a secret"
        w.machine(node).wrong.mute = True  # its cleaning waits for the ramdisk
        assert (await w.ask(node, "deleted")).status_code == 202
        await w.at(node, "clean wait")
        async with asyncio.timeout(5):
            assert [chunk async for chunk in output] == []
        assert b"secret" not in await consoles.log(node)


async def test_nobody_reads_what_the_tenant_before_had_on_the_console(tmp_path: Path) -> None:
    """Another process gave the machine to the next one: this one hears of it when somebody asks."""
    async with world(tmp_path) as w:
        node, consoles = await w.active(), w.part.consoles
        for number in (1, 2):
            instance = {"instance_id": f"6f1c1f6e-0d5c-4a2f-9f3a-0d7f0a3b1c1{number}"}
            await w.db.write(lambda tx, now=instance: NODE.update(tx, {"id": node}, now))  # type: ignore[misc]
            _, type_in = await consoles.live(node)
            await type_in(f"words of {number}.".encode())
        async with asyncio.timeout(5):
            while b"words of 2" not in (said := await consoles.log(node)):
                await asyncio.sleep(0.01)
        assert b"words of 1" not in said


async def _closed(w: World, path: str, query: str) -> int | None:
    """With which code a WebSocket is refused; None when it is accepted."""
    asked = asyncio.Queue[dict[str, Any]]()
    asked.put_nowait({"type": "websocket.connect"})
    told: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        told.append(message)
        if message["type"] == "websocket.accept":
            asked.put_nowait({"type": "websocket.disconnect"})

    scope = {"type": "websocket", "path": path, "query_string": query.encode(), "headers": [], "subprotocols": []}
    await w.hagane.app(scope, asked.get, send)  # type: ignore[arg-type]
    return None if told[0]["type"] == "websocket.accept" else int(told[0]["code"])


async def test_what_a_bmc_shows_and_takes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")

        async def shows(path: str) -> Any:
            return (await w.http.get(f"/nodes/{node}{path}")).json()

        async def done() -> bool:
            return not (await w.row(node))["wanted"]

        assert [one["name"] for one in (await shows("/bios"))["bios"]] == ["BootMode", "TurboMode"]
        assert {one["component"]: one["current_version"] for one in (await shows("/firmware"))["firmware"]} == {
            "bios": "1", "bmc": "1",
        }  # fmt: skip
        put, lamp = w.http.put, "/management/indicators/led@system"
        assert (await shows(lamp))["state"] == "off"
        assert (await put(f"/nodes/{node}{lamp}", json={"state": "on"})).status_code == 204
        assert (await put(f"/nodes/{node}/states/secure_boot", json={"target": True})).status_code == 202
        await w.until(done)
        assert (await shows(lamp))["state"] == "on" and (await shows("/states"))["secure_boot"] is True
        machine, url = w.machine(node), "http://images.test/x.iso"
        media = {"device_type": "cdrom", "image_url": url}
        assert (await w.http.post(f"/nodes/{node}/vmedia", json=media)).status_code == 204
        await w.until(done)
        assert machine.media == {"cd": url} and (await shows("/vmedia"))[0]["image"] == url
        assert (await w.http.delete(f"/nodes/{node}/vmedia")).status_code == 204
        await w.until(done)
        assert not machine.media and await shows("/vmedia") == []
        bad = await w.http.post(f"/nodes/{node}/vmedia", json=media | {"device_type": "tape"})
        assert bad.status_code == 400


async def test_a_machine_that_may_not_be_switched_off_is_restarted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.available(disable_power_off=True)
        await w.instance(node)
        row = await w.reach(node, "active", "active")
        assert w.machine(node).did == ERASED + WRITTEN and row["power_state"] == "power on"
        await w.reach(node, "deleted", "available")
        assert w.machine(node).on


async def test_hold_in_a_deployment_and_in_a_service(tmp_path: Path) -> None:
    hold = {"interface": "deploy", "step": "hold", "args": {}}
    async with world(tmp_path) as w:
        node = await w.available()
        await w.instance(node)
        await w.reach(node, "active", "deploy hold", deploy_steps=[hold | {"priority": 70}])
        assert w.machine(node).did[-1] == "standby.prepare_image"
        await w.reach(node, "unhold", "active")
        await w.reach(node, "service", "service hold", service_steps=[hold])
        await w.reach(node, "unhold", "active")
        assert (await w.row(node))["power_state"] == "power on"


async def test_a_step_that_asks_for_a_restart_gets_one(tmp_path: Path) -> None:
    first = {"interface": "deploy", "step": "erase_devices_metadata", "priority": 99, "reboot_requested": True}
    async with world(tmp_path) as w:
        node = await w.enrol()
        await w.reach(node, "manage", "manageable")
        w.machine(node).wrong.steps = [first, first | {"step": "burnin_cpu", "priority": 5, "reboot_requested": False}]
        await w.reach(node, "provide", "available")
        assert w.machine(node).did == [*ERASED, "clean.execute_clean_step:burnin_cpu"]
        assert w.machine(node).starts == 2 and await w.leaks(node) == {}
