"""One suite for every ramdisk: simulated, ours (as a plain process), and the original where a Python with it is named.

What really reaches a disk is looked at on ours only, with Debian's own tools as witnesses.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hagane.baremetal import node_step
from hagane.drivers import configdrive
from hagane.drivers.deploy import agent as http_agent
from hagane.drivers.deploy import params
from hagane.drivers.deploy.base import Command, CommandState
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from tests.conformance.agent_rigs import MB, STOCK, Rig, node, rig, until
from tests.conformance.agents import NODE

ALL = ["sim", "ours", *(["stock"] if STOCK else [])]
REAL = ["ours", *(["stock"] if STOCK else [])]


@pytest.fixture(params=ALL)
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig("ours", tmp_path) as found:
        yield found


async def ended(rig: Rig, command: Command, *, seconds: float = 30) -> Command:
    async with asyncio.timeout(seconds):
        while command.state is CommandState.RUNNING:
            await asyncio.sleep(0.02)
            command = await rig.agent.result(command.id)
    return command


async def do(rig: Rig, name: str, given: dict[str, Any]) -> Command:
    return await ended(rig, await rig.agent.start(name, given))


def described(rig: Rig, image: bytes, **more: Any) -> dict[str, Any]:
    """An image that the service has, as a command describes it."""
    rig.service.images["/image"] = image
    given = {"hash_algo": "sha256", "hash_value": hashlib.sha256(image).hexdigest(), "boot_mode": "bios"} | more
    return params.image_info("i1", rig.url("/image"), node_uuid=NODE, **given)


# -- what all of them say ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A command, and what comes of it: keys of its result, or words of its failure, or the code of its refusal."""

    name: str
    params: Callable[[Rig], dict[str, Any]]
    keys: tuple[str, ...] = ()
    refused: str = ""
    words: str = ""


NO_SUM = {"id": "i", "urls": ["http://192.0.2.9/i"]}
CASES = {
    "sync": Case("standby.sync", lambda rig: {}),
    "deploy steps": Case("deploy.get_deploy_steps", lambda rig: params.steps(node(), []), ("deploy_steps", "hardware_manager_version")),
    "clean steps": Case("clean.get_clean_steps", lambda rig: params.steps(node(), []), ("clean_steps", "hardware_manager_version")),
    "service steps": Case("service.get_service_steps", lambda rig: params.steps(node(), []), ("service_steps",)),
    "clean": Case(
        "clean.execute_clean_step",
        lambda rig: params.execute_step("clean", {"step": "erase_devices_metadata", "interface": "deploy"}, node(), []),
        ("clean_result", "clean_step"),
    ),
    "no checksum": Case("standby.prepare_image", lambda rig: {"image_info": NO_SUM}, refused="AgentRefused", words="checksum"),
    "unknown command": Case("standby.fly", lambda rig: {}, refused="AgentRefused", words="Unknown command"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_commands(machine: Rig, name: str) -> None:
    case = CASES[name]
    if case.refused:
        with pytest.raises(DeviceFailed, match=case.words) as refused:
            await machine.agent.start(case.name, case.params(machine))
        assert refused.value.code == case.refused
        assert await machine.agent.commands() == []
        return
    command = await do(machine, case.name, case.params(machine))
    assert command.state is CommandState.SUCCEEDED, command.error
    assert command.name == case.name and set(case.keys) <= set(command.result)
    assert await machine.agent.result(command.id) == command
    assert await machine.agent.commands() == [command]
    assert (await machine.agent.call("standby.sync", {})).state is CommandState.SUCCEEDED
    assert [one.name for one in await machine.agent.commands()] == [case.name, "standby.sync"]


async def test_steps_can_be_ordered_and_executed_with_their_versions(machine: Rig) -> None:
    listed = await machine.agent.call("clean.get_clean_steps", params.steps(node(), []))
    steps = node_step.ordered(node_step.offered(listed.result["clean_steps"]))
    versions = listed.result["hardware_manager_version"]
    assert steps[0]["step"] == "erase_devices_metadata" and versions
    assert [step["priority"] for step in steps] == sorted((step["priority"] for step in steps), reverse=True)
    done = await do(machine, "clean.execute_clean_step", params.execute_step("clean", steps[0], node(), [], versions))
    assert done.state is CommandState.SUCCEEDED, done.error


async def test_an_unknown_command_id_is_said_to_be_unknown(machine: Rig) -> None:
    with pytest.raises(DeviceFailed) as unknown:
        await machine.agent.result("11111111-2222-3333-4444-555555555555")
    assert unknown.value.code in ("AgentUnknown", "AgentRefused")


async def test_one_command_at_a_time(machine: Rig) -> None:
    """The second is refused while the first runs, and is taken afterwards."""
    if machine.name == "sim":
        machine.agent.seconds = lambda: 0.5  # type: ignore[attr-defined]
    machine.service.delay = 0.7
    first = await machine.agent.start("standby.prepare_image", params.prepare_image(described(machine, bytes(MB))))
    assert first.state is CommandState.RUNNING and first.name == "standby.prepare_image"
    with pytest.raises(DeviceFailed) as busy:
        await machine.agent.start("standby.sync", {})
    assert busy.value.code == "AgentBusy"
    await ended(machine, first)
    assert (await machine.agent.call("standby.sync", {})).state is CommandState.SUCCEEDED


@pytest.fixture(params=REAL)
async def speaking(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Those that speak HTTP."""
    async with rig(request.param, tmp_path) as found:
        yield found


async def test_a_stranger_learns_and_does_nothing(speaking: Rig) -> None:
    assert speaking.stranger is not None
    calls = (speaking.stranger.commands(), speaking.stranger.start("standby.sync", {}), speaking.stranger.result("x"))
    for call in calls:
        with pytest.raises(DeviceFailed) as refused:
            await call
        assert refused.value.code == "AgentToken" and speaking.service.token not in str(refused.value)
    assert await speaking.agent.commands() == []


async def test_the_end_of_a_long_command_is_announced(speaking: Rig) -> None:
    before = len(speaking.service.beats)
    assert speaking.service.beats[0].keys() >= {"callback_url", "agent_token", "agent_version"}
    assert speaking.service.beats[0]["agent_token"] == speaking.service.token
    step = params.execute_step("clean", {"step": "erase_devices_metadata"}, node(), [])
    await do(speaking, "clean.execute_clean_step", step)
    await until(lambda: len(speaking.service.beats) > before)  # the original waits five seconds before it says so


async def test_another_version_between_steps_is_a_mismatch(speaking: Rig) -> None:
    step = params.execute_step("clean", {"step": "erase_devices_metadata"}, node(), [], {"someone": "0"})
    command = await do(speaking, "clean.execute_clean_step", step)
    assert command.state is CommandState.MISMATCH and "version" in command.error


async def test_an_image_that_is_not_there_fails_in_words(speaking: Rig) -> None:
    info = described(speaking, b"") | {"urls": [speaking.url("/nothing")]}
    command = await do(speaking, "standby.prepare_image", params.prepare_image(info))
    assert command.state is CommandState.FAILED
    assert "Error downloading image" in command.error and "404" in command.error


async def test_a_wrong_checksum_fails_in_words(speaking: Rig) -> None:
    info = described(speaking, bytes(MB), hash_value="0" * 64)
    command = await do(speaking, "standby.prepare_image", params.prepare_image(info))
    assert command.state is CommandState.FAILED
    assert "Error verifying image checksum" in command.error and "0" * 64 in command.error


async def test_logs(ours: Rig) -> None:
    logs = await ours.agent.call("log.collect_system_logs", {})
    assert gzip.decompress(base64.b64decode(logs.result["system_logs"])).count(b"a log")


async def test_rescue_ends_the_service(ours: Rig) -> None:
    """The machine is moved to a tenant's network next, where nobody shall command it."""
    command = await ours.agent.call("rescue.finalize_rescue", params.finalize_rescue("$6$salt$hash"))
    assert command.state is CommandState.SUCCEEDED and ours.root is not None
    assert "rescue:$6$salt$hash:" in (ours.root / "etc/shadow").read_text()
    with pytest.raises(Unavailable):
        async with asyncio.timeout(20):
            while True:
                await ours.agent.commands()
                await asyncio.sleep(0.1)


async def test_rescue_takes_no_password_that_is_no_hash(ours: Rig) -> None:
    command = await ours.agent.call("rescue.finalize_rescue", params.finalize_rescue("plain:0:0"))
    assert command.state is CommandState.FAILED and "not a hash" in command.error


# -- what reaches the disk ---------------------------------------------------------------------------------------------


def partitioned(folder: Path, script: str, *, megabytes: int = 24) -> bytes:
    """A disk image with the partitions that sfdisk makes of the script, and something in each."""
    image = folder / "made.img"
    image.write_bytes(os.urandom(megabytes * MB))
    with image.open("r+b") as file:
        file.write(bytes(MB))
    subprocess.run(
        ["sfdisk", "-q", "--wipe", "never", str(image)], input=script, text=True, check=True, capture_output=True
    )
    return image.read_bytes()


def table(disk: Path) -> dict[str, Any]:
    """The disk's table as sfdisk sees it, which complains of a GPT that is not right in all its parts."""
    done = subprocess.run(["sfdisk", "--verify", str(disk)], capture_output=True, text=True, check=True)
    assert "No errors detected" in done.stdout and not done.stderr, done.stdout + done.stderr
    shown = subprocess.run(["sfdisk", "-J", str(disk)], capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(shown)["partitiontable"]
    return found


GPT = "label: gpt\nsize=8M, type=uefi, name=esp\nsize=8M, name=root\n"
MBR = "label: dos\nsize=8M, type=83, bootable\nsize=8M, type=83\n"


@pytest.mark.parametrize("script", [GPT, MBR], ids=["gpt", "mbr"])
async def test_whole_disk_with_a_config_drive(ours: Rig, tmp_path: Path, script: str) -> None:
    image = partitioned(tmp_path, script)
    drive = configdrive.build({"openstack/latest/meta_data.json": b'{"uuid": "x"}'})
    packed = base64.b64encode(gzip.compress(drive)).decode()
    command = await do(ours, "standby.prepare_image", params.prepare_image(described(ours, image), packed))
    assert command.state is CommandState.SUCCEEDED, command.error
    found = table(ours.disk)
    parts = found["partitions"]
    assert len(parts) == 3 and [part["start"] for part in parts[:2]] == [2048, 18432]
    last = parts[2]
    assert last["size"] == 64 * 2048 and last["start"] * 512 + 64 * MB >= 254 * MB
    written = ours.disk.read_bytes()
    assert written[MB : 17 * MB] == image[MB : 17 * MB]
    at = last["start"] * 512
    assert written[at : at + len(drive)] == drive and written[at + 32808 : at + 32816] == b"config-2"
    # A second time, over it: nothing of the first is in the way.
    again = await do(ours, "standby.prepare_image", params.prepare_image(described(ours, image) | {"id": "i2"}, packed))
    assert again.state is CommandState.SUCCEEDED and len(table(ours.disk)["partitions"]) == 3


async def test_gzip_sha512_and_a_config_drive_by_url(ours: Rig, tmp_path: Path) -> None:
    image = partitioned(tmp_path, GPT)
    packed = gzip.compress(image, 1)
    ours.service.images["/drive"] = base64.b64encode(gzip.compress(b"D" * 4096))
    ours.service.images["/image.gz"] = packed
    value = hashlib.sha512(packed).hexdigest()
    info = params.image_info(
        "i", ours.url("/image.gz"), hash_algo="sha512", hash_value=value, node_uuid=NODE, boot_mode="bios"
    )
    command = await do(ours, "standby.prepare_image", params.prepare_image(info, ours.url("/drive")))
    assert command.state is CommandState.SUCCEEDED, command.error
    parts = table(ours.disk)["partitions"]
    written = ours.disk.read_bytes()
    assert written[MB : 17 * MB] == image[MB : 17 * MB] and written[parts[2]["start"] * 512 :][:4096] == b"D" * 4096


async def test_progress_is_seen(ours: Rig, tmp_path: Path) -> None:
    ours.service.rate = 8 * MB
    command = await ours.agent.start(
        "standby.prepare_image", params.prepare_image(described(ours, partitioned(tmp_path, GPT)))
    )
    seen = set()
    async with asyncio.timeout(60):
        while (command := await ours.agent.result(command.id)).state is CommandState.RUNNING:
            seen.add(command.result.get("progress", {}).get("percent"))
            await asyncio.sleep(0.05)
    assert command.state is CommandState.SUCCEEDED and len(seen) > 5 and max(filter(None, seen)) <= 100


async def test_a_download_that_breaks_is_begun_again(ours: Rig, tmp_path: Path) -> None:
    ours.service.cut = 1
    image = partitioned(tmp_path, MBR)
    command = await do(ours, "standby.prepare_image", params.prepare_image(described(ours, image)))
    assert command.state is CommandState.SUCCEEDED, command.error
    assert ours.disk.read_bytes()[MB : 24 * MB] == image[MB:]


@dataclass(frozen=True)
class Bad:
    """What is wrong with an order, and what must be said of it."""

    words: str
    image: Callable[[Path], bytes] = lambda folder: partitioned(folder, GPT)
    info: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    drive: str | None = None


FOUR = "label: dos\nsize=2M\nsize=2M\nsize=2M\nsize=2M\n"
BAD = {
    "too large": Bad("No space left on device", lambda folder: bytes(257 * MB)),
    "no table": Bad("No partitions found", lambda folder: os.urandom(MB)),
    "qcow2": Bad("raw images only", info={"disk_format": "qcow2"}),
    "md5": Bad("MD5 checksums are not allowed", info={"os_hash_algo": "md5", "os_hash_value": "0" * 32}),
    "no such disk": Bad("No suitable device was found .* seen: /dev/sda", properties={"root_device": {"serial": "other"}}),
    "bad hint": Bad("are invalid. Valid hints", properties={"root_device": {"colour": "blue"}}),
    "config drive is no base64": Bad("malformed", drive="%%%%"),
    "four partitions": Bad("already has 4 primary", lambda folder: partitioned(folder, FOUR), drive="H4sIAAAAAAAA/wMAAAAAAAAAAAA="),
    "root too small": Bad("No space left on device", info={"image_type": "partition", "root_mb": 4}),
    "root too large": Bad("No room for a partition", info={"image_type": "partition", "root_mb": 4000}),
    "no sizes": Bad("needs 'root_mb'", info={"image_type": "partition"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_what_cannot_be_written_is_said_in_words(ours: Rig, tmp_path: Path, name: str) -> None:
    bad = BAD[name]
    ours.service.node = node(**(bad.properties or {}))
    if bad.properties:
        await ours.agent.call("deploy.get_deploy_steps", params.steps(ours.service.node, []))
    drive = base64.b64encode(gzip.compress(b"x")).decode() if bad.drive and bad.drive[0] == "H" else bad.drive
    given = params.prepare_image(described(ours, bad.image(tmp_path)) | (bad.info or {}), drive)
    command = await do(ours, "standby.prepare_image", given)
    assert command.state is CommandState.FAILED
    with pytest.raises(DeviceFailed, match=bad.words):
        raise DeviceFailed(command.error)


async def test_md5_is_taken_where_the_service_allows_it(tmp_path: Path) -> None:
    async with rig("ours", tmp_path, config={"agent_md5_checksum_enable": True}) as ours:
        image = partitioned(tmp_path, MBR)
        info = described(ours, image, hash_algo="md5", hash_value=hashlib.md5(image).hexdigest())
        command = await do(ours, "standby.prepare_image", params.prepare_image(info))
        assert command.state is CommandState.SUCCEEDED, command.error


@pytest.mark.parametrize("mode", ["bios", "uefi"])
async def test_partition_image(tmp_path: Path, mode: str) -> None:
    """Root, swap and ephemeral as ordered; a boot loader into root is refused with the way out."""
    async with rig("ours", tmp_path, disk_mb=1024) as ours:
        for number in range(
            1, 7
        ):  # the kernel would show partitions; here their file systems go into files of their own
            (ours.root / f"dev/sda{number}").write_bytes(bytes(24 * MB))  # type: ignore[operator]
        root = tmp_path / "root.ext4"
        root.write_bytes(bytes(8 * MB))
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-U", "6b3f4a5e-3f0a-4c59-9a0c-0d6c1f3c2aff", str(root)], check=True
        )
        sizes = {"root_mb": 64, "swap_mb": 16, "ephemeral_mb": 24, "ephemeral_format": "ext4"}
        info = described(ours, root.read_bytes(), boot_mode=mode, partition=sizes)
        command = await do(
            ours,
            "standby.prepare_image",
            params.prepare_image(info, base64.b64encode(gzip.compress(b"C" * 512)).decode()),
        )
        assert command.state is CommandState.SUCCEEDED, command.error
        found = table(ours.disk)
        assert found["label"] == {"bios": "dos", "uefi": "gpt"}[mode]
        sectors = [part["size"] // 2048 for part in found["partitions"]]
        assert sectors == [*([550] if mode == "uefi" else []), 24, 16, 64, 64]
        written = ours.disk.read_bytes()
        assert written[found["partitions"][-1]["start"] * 512 :][: 8 * MB] == root.read_bytes()
        swap = ours.disk.with_name("swap")
        at = found["partitions"][-3]["start"] * 512
        swap.write_bytes(written[at : at + 16 * MB])
        kind = subprocess.run(
            ["blkid", "-p", "-o", "value", "-s", "TYPE", str(swap)], capture_output=True, text=True, check=True
        )
        assert kind.stdout.strip() == "swap"
        uuids = (await ours.agent.call("standby.get_partition_uuids", {})).result
        assert uuids["root uuid"] == "6b3f4a5e-3f0a-4c59-9a0c-0d6c1f3c2aff" and "root" in uuids["partitions"]
        loader = await ours.agent.call("image.install_bootloader", params.install_bootloader(uuids, boot_mode=mode))
        assert loader.state is CommandState.FAILED and "stock" in loader.error


async def test_cleaning_leaves_nothing(ours: Rig, tmp_path: Path) -> None:
    image = partitioned(tmp_path, GPT)
    await do(ours, "standby.prepare_image", params.prepare_image(described(ours, image)))
    step = params.execute_step("clean", {"step": "erase_devices_metadata"}, node(), [])
    assert (await do(ours, "clean.execute_clean_step", step)).state is CommandState.SUCCEEDED
    left = ours.disk.read_bytes()
    assert not any(left[: 4 * MB]) and not any(left[-4 * MB :]) and any(left)
    step = params.execute_step("clean", {"step": "erase_devices"}, node(), [])
    done = await do(ours, "clean.execute_clean_step", step)
    assert done.result["clean_result"] == {"/dev/sda": "write"} and not any(ours.disk.read_bytes())


async def test_inventory(ours: Rig) -> None:
    found = (await ours.agent.call("poll.get_hardware_info", {})).result
    assert [nic["mac_address"] for nic in found["interfaces"]] == ["52:54:00:12:34:56"]
    disk = found["disks"][0]
    assert (disk["name"], disk["size"], disk["wwn"]) == ("/dev/sda", 256 * MB, "5000c500a1b2c3d4") and len(
        found["disks"]
    ) == 1
    assert found["boot"] == {"current_boot_mode": "bios", "pxe_interface": "01-52-54-00-12-34-56"}
    assert found["system_vendor"]["manufacturer"] == "Hagane" and found["cpu"]["count"] == 1


async def test_a_machine_that_lost_its_power_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers, not even with a refusal: not a minute is lost with that."""
    monkeypatch.setattr(http_agent, "CONNECT", 0.01)

    async def nowhere(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.sleep(60)
        raise AssertionError

    agent = http_agent.HttpAgent(http_agent.AgentAddress("http://192.0.2.1:9999", "token"), nowhere)
    with pytest.raises(Unavailable, match="cannot be reached: no connection within"):
        await agent.commands()


async def test_a_ramdisk_that_is_gone_or_talks_nonsense(tmp_path: Path) -> None:
    async with rig("ours", tmp_path) as ours:
        gone = ours.service.agent(1)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await gone.commands()
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
    ):

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = answer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            with pytest.raises(HaganeError):
                await ours.service.agent(server.sockets[0].getsockname()[1]).commands()
