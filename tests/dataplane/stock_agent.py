"""`make test-agent`, the whole way: a Node is cleaned and deployed by the original ironic-python-agent, in a real cloud.

Kernel and ramdisk are images that driver_info names, as an operator does it. Not collected by the other targets (its name
says so): the machine needs 2.5 GB of memory, and each of its two starts some minutes.
"""

from pathlib import Path

import pytest
from openstack.connection import Connection

from hagane.lab import guest
from hagane.lab.ramdisk import stock
from tests.dataplane.cloud import until
from tests.dataplane.steel import steel

RACK = '[[machine]]\nname = "bm1"\nmemory_mb = 2560\ndisks_gb = [5]\n'
LIMITS = {"deploy_callback": 900, "clean_callback": 900, "heartbeat": 600}


def _image(conn: Connection, name: str, file: Path, form: str = "raw") -> str:
    with file.open("rb") as data:
        made = conn.image.create_image(name, data=data, disk_format=form, container_format="bare", wait=True)
    return str(made.id)


@pytest.mark.timeout(1800)
def test_clean_and_deploy(tmp_path: Path) -> None:
    made = stock.build()
    with steel(tmp_path, RACK, baremetal=LIMITS) as world:
        conn = world.cloud.conn
        named = {"deploy_kernel": made.kernel, "deploy_ramdisk": made.ramdisk}
        for name, file in named.items():
            world.set("bm1", f"/driver_info/{name}", _image(conn, name, file))
        world.set("bm1", "/driver_info/kernel_append_params", f"%default% no_timer_check {made.parameters}".strip())
        world.set("bm1", "/automated_clean", True)
        world.tell("bm1", "manage")
        world.state("bm1", "manageable")
        world.tell("bm1", "provide")
        row = world.state("bm1", "available", 900)
        steps = [step["step"] for step in row["driver_internal_info"]["clean_steps"]]
        assert "erase_devices_metadata" in steps, steps
        world.deploy("bm1", _image(conn, "guest", guest.build().path, "qcow2"))
        world.state("bm1", "active", 900)
        print("\n".join(f"{step['step']:22} {step['message']}" for step in world.row("bm1")["seen"]["steps"]))
        until(lambda: "HAGANE-GUEST-READY" in world.console("bm1"), 240, "the image has booted")
        world.set("bm1", "/automated_clean", False)
        world.tell("bm1", "deleted")
        world.state("bm1", "available", 120)
