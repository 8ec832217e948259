"""`make test-agent`: one deployment with the original ironic-python-agent in a ramdisk of its own, from power on to ssh.

Not collected by the other targets (its name says so): it needs 2 GB of memory and some minutes.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from hagane.baremetal import node_step
from hagane.drivers.deploy import params
from hagane.drivers.deploy.base import CommandState
from hagane.lab.ramdisk import stock
from hagane.lab.ramdisk.agent.facts import inventory
from hagane.lab.ramdisk.agent.place import place
from tests.conformance.agent_rigs import node, scratch
from tests.conformance.agents import blank, boot, service
from tests.conformance.test_ramdisk import guest_image, write


def _same_words(found: dict[str, Any], root: Path) -> None:
    """Our ramdisk's inventory has every field of the original's."""
    scratch(root, "", disk_mb=64)
    ours = inventory(place(root))
    parts = [(found, ours), *((found[name], ours[name]) for name in ("cpu", "memory", "system_vendor", "boot"))]
    parts += [(found[name][0], ours[name][0]) for name in ("interfaces", "disks")]
    missing = {key for original, own in parts for key in original.keys() - own.keys()}
    assert not missing, missing


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", ["bios", "uefi"])
async def test_one_deployment(tmp_path: Path, mode: str) -> None:
    disk, image, made = blank(tmp_path / "disk"), guest_image(tmp_path), stock.build()
    firmware = tmp_path / "vars.fd" if mode == "uefi" else None
    if firmware:
        shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", firmware)
    with service() as state:
        more = f"ipa-api-url=http://10.0.2.2:{state.port}/baremetal"
        linux = (made.kernel, made.ramdisk, more)
        async with boot(tmp_path, disk, linux=linux, firmware=firmware, memory=2048) as machine:
            try:
                beat = await state.beat(seconds=600)
                print(f"heartbeat after {time.monotonic() - machine.began:.1f} s")
                assert beat["callback_url"].startswith("https://") and "BEGIN CERTIFICATE" in beat["agent_verify_ca"]
                agent = state.agent(machine.port, tls=beat["agent_verify_ca"])
                listed = await agent.call("deploy.get_deploy_steps", params.steps(node(), []))
                steps = node_step.offered(listed.result["deploy_steps"])
                assert "write_image" in [step["step"] for step in steps] and listed.result["hardware_manager_version"]
                _same_words((await agent.call("poll.get_hardware_info", {})).result, tmp_path / "scratch")
                began = time.monotonic()
                command = await write(agent, state, image, mode)
                assert command.state is CommandState.SUCCEEDED, command.error
                print(f"written after {time.monotonic() - began:.1f} s")
                uuids = (await agent.call("standby.get_partition_uuids", {})).result
                # The original finds an EFI partition in a GPT only; the guest has an MBR, and starts without an entry.
                given = params.install_bootloader(uuids, boot_mode=mode, ignore_failure=True)
                loader = await agent.call("image.install_bootloader", given)
                assert loader.state is CommandState.SUCCEEDED, loader.error
                assert (await agent.call("standby.sync", {})).state is CommandState.SUCCEEDED
                await agent.start("standby.power_off", {})  # no waiting: it may be off before it can answer
                await machine.ends()
            except BaseException:
                print(machine.console()[-6000:])
                raise
    async with boot(tmp_path, disk, firmware=firmware) as machine:
        assert "hostname=steel" in await machine.says("HAGANE-GUEST-READY", seconds=300)
