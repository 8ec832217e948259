"""Our deploy ramdisk in a machine of its own, from power on to the written disk starting by itself."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import re
import shutil
import socket
import subprocess
from pathlib import Path

import asyncssh
import pytest

from hagane.drivers import configdrive
from hagane.drivers.deploy import ansible, params
from hagane.drivers.deploy.base import Agent, Command, CommandState
from hagane.errors import DeviceFailed
from hagane.lab import guest, ramdisk
from tests.conformance.agent_rigs import node
from tests.conformance.agents import NODE, Machine, Service, blank, boot, service

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

LLDP = bytes.fromhex(
    "0180c200000e 525400000001 88cc 0207 04 525401000002 0405 05 626d312d 0602 0078 0000".replace(" ", "")
)  # chassis 52:54:01:00:00:02, port "bm1-", two minutes


def linux(state: Service, more: str = "", variant: str = "virtual") -> tuple[Path, Path, str]:
    made = ramdisk.build(variant=variant)
    return made.kernel, made.ramdisk, f"{made.parameters} ipa-api-url=http://10.0.2.2:{state.port}/baremetal {more}"


def guest_image(folder: Path) -> Path:
    raw = folder / "guest.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", guest.build().path, raw], check=True)
    return raw


async def write(agent: Agent, state: Service, image: Path, mode: str) -> Command:
    """Write the guest with a config drive that names it."""
    data = await asyncio.to_thread(image.read_bytes)
    state.images["/image"] = data
    files = {"openstack/latest/meta_data.json": b'{"uuid": "u", "hostname": "steel", "name": "steel"}'}
    drive = base64.b64encode(gzip.compress(configdrive.build(files))).decode()
    info = params.image_info(
        "i", f"http://10.0.2.2:{state.port}/image", hash_algo="sha256", hash_value=hashlib.sha256(data).hexdigest(),
        node_uuid=NODE, boot_mode=mode,
    )  # fmt: skip
    command = await agent.start("standby.prepare_image", params.prepare_image(info, drive))
    async with asyncio.timeout(120):
        while command.state is CommandState.RUNNING:
            await asyncio.sleep(0.2)
            command = await agent.result(command.id)
    return command


async def announce(machine: Machine, until: asyncio.Event) -> None:
    """What a switch does every now and then on the port of the second NIC."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        while not until.is_set():
            wire.sendto(LLDP.ljust(60, b"\0"), ("127.0.0.1", machine.lldp))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await until.wait()


async def test_inspect_write_and_start_with_a_bios(tmp_path: Path) -> None:
    disk, image = blank(tmp_path / "disk"), guest_image(tmp_path)
    with service() as state:
        callback = f"http://10.0.2.2:{state.port}/baremetal/v1/continue_inspection"
        more = f"ipa-inspection-callback-url={callback} ipa-collect-lldp=1 ipa-lldp-timeout=8"
        async with boot(tmp_path, disk, linux=linux(state, more)) as machine:
            found = asyncio.Event()
            switch = asyncio.create_task(announce(machine, found))
            await state.beat()
            found.set()
            await switch
            inventory = state.inspections[0]["inventory"]
            assert [nic["mac_address"][-2:] for nic in inventory["interfaces"]] == ["56", "57"]
            assert inventory["interfaces"][1]["lldp"][:2] == [[1, "04525401000002"], [2, "05626d312d"]]
            assert inventory["disks"][0]["serial"] == "disk-0" and inventory["disks"][0]["size"] == 5 << 30
            assert inventory["memory"]["physical_mb"] == 256 and inventory["boot"]["current_boot_mode"] == "bios"
            assert "node_uuid=" + NODE in state.lookups[0]
            agent = state.agent(machine.port)
            command = await write(agent, state, image, "bios")
            assert command.state is CommandState.SUCCEEDED, command.error
            await agent.start("standby.power_off", {})  # no waiting: it may be off before it can answer
            await machine.ends()
    async with boot(tmp_path, disk) as machine:
        ready = await machine.says("HAGANE-GUEST-READY")
        assert "hostname=steel" in ready


async def test_uefi_gets_a_boot_entry_that_starts_the_disk(tmp_path: Path) -> None:
    disk, image, firmware = blank(tmp_path / "disk"), guest_image(tmp_path), tmp_path / "vars.fd"
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", firmware)
    with service() as state:
        async with boot(tmp_path, disk, linux=linux(state), firmware=firmware) as machine:
            await state.beat()
            agent = state.agent(machine.port)
            none = await agent.call("image.install_bootloader", params.install_bootloader({}, boot_mode="uefi"))
            assert none.state is CommandState.FAILED and "is the image made for UEFI?" in none.error
            command = await write(agent, state, image, "uefi")
            assert command.state is CommandState.SUCCEEDED, command.error
            loader = await agent.call("image.install_bootloader", params.install_bootloader({}, boot_mode="uefi"))
            assert loader.state is CommandState.SUCCEEDED, loader.error
            cleaned = await agent.call("standby.sync", {})
            assert cleaned.state is CommandState.SUCCEEDED
            await agent.start("standby.run_image", {})
            await machine.ends()
    entry = "Hagane".encode("utf-16-le")
    assert entry in firmware.read_bytes()
    async with boot(tmp_path, disk, firmware=firmware) as machine:
        assert "hostname=steel" in await machine.says("HAGANE-GUEST-READY", seconds=180)


async def test_ssh_by_key_erase_and_rescue_by_password(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk")
    disk_marker = b"the first tenant was here"
    with disk.open("r+b") as file:
        file.seek(3 << 30)
        file.write(disk_marker)
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = key.export_public_key().decode().strip()
    with service() as state:
        async with boot(tmp_path, disk, linux=linux(state, f'sshkey="{public}"')) as machine:
            await state.beat()
            agent = state.agent(machine.port)
            options = {"port": machine.ssh, "known_hosts": None, "connect_timeout": 20}
            async with asyncssh.connect("127.0.0.1", username="root", client_keys=[key], **options) as shell:
                said = await shell.run("id -un; cat /proc/uptime", check=True)
                assert str(said.stdout).startswith("root\n")
            step = params.execute_step("clean", {"step": "erase_devices"}, node(), [])
            done = await agent.call("clean.execute_clean_step", step)
            assert done.state is CommandState.SUCCEEDED and done.result["clean_result"] == {"/dev/vda": "zero"}
            hashed = subprocess.run(
                ["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True
            ).stdout.strip()
            rescue = await agent.call("rescue.finalize_rescue", params.finalize_rescue(hashed))
            assert rescue.state is CommandState.SUCCEEDED, rescue.error
            for _ in range(40):
                with contextlib.suppress(OSError, asyncssh.Error):
                    async with asyncssh.connect(
                        "127.0.0.1", username="rescue", password="secret", client_keys=None, **options
                    ) as shell:
                        said = await shell.run("ls /dev/vda", check=True)
                        break
                await asyncio.sleep(0.5)
            assert str(said.stdout).strip() == "/dev/vda"
            with pytest.raises(asyncssh.PermissionDenied):
                async with asyncssh.connect(
                    "127.0.0.1", username="rescue", password="wrong", client_keys=None, **options
                ):
                    pass
        left = subprocess.run(["grep", "-c", disk_marker, disk], capture_output=True, text=True, check=False)
        assert left.stdout.strip() == "0"
    print(re.findall(r"HAGANE-\S+ .*", machine.console()))


async def test_a_playbook_writes_the_disk(tmp_path: Path) -> None:
    """The deploy interface `ansible`, against the same ramdisk; a playbook that fails says which task did and why."""
    disk, image = blank(tmp_path / "disk"), guest_image(tmp_path)
    key = ansible.key_of(b"a secret of this cloud")
    broken = tmp_path / "broken.yml"
    broken.write_text(
        "- hosts: node\n  gather_facts: false\n  tasks:\n    - name: Break\n      raw: echo because >&2; exit 3\n"
    )
    with service() as state:
        async with boot(tmp_path, disk, linux=linux(state, ansible.sshkey_parameter(key))) as machine:
            await state.beat()

            async def dial(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                return await asyncio.open_connection("127.0.0.1", {22: machine.ssh}[port])

            runs = ansible.Playbooks()
            agent = ansible.AnsibleAgent(
                state.agent(machine.port), dial, "192.0.2.1", key=key, node=node(), runs=runs, playbook=broken
            )
            command = await agent.call("standby.prepare_image", {"image_info": {}})
            assert command.state is CommandState.FAILED and "'Break' failed: because" in command.error
            agent.playbook = ansible.DEFAULT
            command = await write(agent, state, image, "bios")
            assert command.state is CommandState.SUCCEEDED, command.error
            assert "Write the image" in command.result["tasks"]
            wrong = params.image_info("w", f"http://10.0.2.2:{state.port}/image", hash_algo="sha256", hash_value="ab" * 32,
                                      node_uuid=NODE, boot_mode="bios")  # fmt: skip
            command = await agent.call("standby.prepare_image", params.prepare_image(wrong))
            assert command.state is CommandState.FAILED and "verify against checksum" in command.error
            with pytest.raises(DeviceFailed, match="interrupted"):
                await agent.result("ansible-gone")
            command = await write(agent, state, image, "bios")
            assert command.state is CommandState.SUCCEEDED, command.error
            await agent.start("standby.power_off", {})  # no waiting: it may be off before it can answer
            await machine.ends()
            await runs.close()
    async with boot(tmp_path, disk) as machine:
        assert "hostname=steel" in await machine.says("HAGANE-GUEST-READY")


async def test_the_metal_variant_finds_real_hardware(tmp_path: Path) -> None:
    """A NIC and a disk as they stand in racks: their drivers are found by what they say they are."""
    disk = blank(tmp_path / "disk")
    with service() as state:
        parts = linux(state, variant="metal")
        async with boot(tmp_path, disk, linux=parts, nic="e1000e", drive="nvme") as machine:
            await state.beat()
            found = (await state.agent(machine.port).call("poll.get_hardware_info", {})).result
            assert [nic["driver"] for nic in found["interfaces"]] == ["e1000e", "e1000e"]
            assert found["interfaces"][0]["vendor"] == "0x8086"
            only = found["disks"][0]
            assert (only["name"], only["serial"], only["tran"]) == ("/dev/nvme0n1", "disk-0", "nvme")
