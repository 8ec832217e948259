"""The life of a Node on simulated machines whose ramdisks call back as real ones do."""

from pathlib import Path

from hagane.baremetal import node_progress
from tests.scenarios.node_world import world


async def test_from_enroll_to_active_and_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        node = await w.available()
        assert w.machine(node).did == ["clean.get_clean_steps", "clean.execute_clean_step:erase_devices_metadata"]
        assert await w.leaks(node) == {}
        await w.instance(node)
        row = await w.reach(node, "active", "active")
        assert w.machine(node).did[2:] == ["deploy.get_deploy_steps", "standby.prepare_image",
                                           "image.install_bootloader", "standby.sync"]  # fmt: skip
        assert (row["power_state"], row["target_provision_state"], row["last_error"]) == ("power on", None, None)
        names = [step["step"] for step in row["seen"]["steps"]]
        assert [name for name in names if name in node_progress.DEPLOYMENT] == [
            "tenant-network", "provisioning-network", "power-on", "dhcp", "ramdisk", "callback", "write-image",
            "tenant-switch", "reboot",
        ]  # fmt: skip
        assert all(step["result"] == "Success" and step["finished_at"] for step in row["seen"]["steps"])
        row = await w.reach(node, "deleted", "available")
        assert row["instance_info"] == {} and row["instance_id"] is None
        assert await w.leaks(node) == {}
