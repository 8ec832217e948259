"""A Server whose Node breaks while it is deployed goes to another Node, and answers there."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hagane.lab import guest
from tests.dataplane.cloud import Cloud, until
from tests.dataplane.fault_kill import Result
from tests.dataplane.fault_node import FaultNode
from tests.dataplane.servers import Servers
from tests.dataplane.space import Guest
from tests.dataplane.steel import BOOT, Steel
from tests.dataplane.tenant import Tenant

CASES = (("cable-pulled=0", "callback"), ("cable-pulled=0", "write-image"), ("power-loss", "write-image"),
         ("disk-bad", "callback"), ("bmc-dead", "switch"))  # fmt: skip
STEEL = {"resources:CUSTOM_BM_SMALL": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0"}


def image(cloud: Cloud) -> str:
    with guest.build().path.open("rb") as data:
        made = cloud.conn.image.create_image(
            "guest", data=data, disk_format="qcow2", container_format="bare", wait=True
        )
    return str(made.id)


def run(steel: Steel, image: str) -> Iterator[Result]:
    """Each case in turn: the Server is ACTIVE elsewhere, answers, and the broken Node is available again when mended."""
    tenant = Tenant(steel.cloud)
    front = tenant.network("front", "10.10.0.0/24")
    group = tenant.open_group()
    with tempfile.TemporaryDirectory() as keys:
        servers = Servers(tenant, Path(keys))
        flavor = servers.api.create_flavor(name="bm.small", ram=384, vcpus=1, disk=1)
        servers.api.create_flavor_extra_specs(flavor, STEEL)
        looker = tenant.machine(front, "host1", [group])
        for number, (fault, step) in enumerate(CASES):
            server = servers.order(f"steel{number}", front, group, flavor_id=flavor.id)
            try:
                outcome, right = _elsewhere(steel, servers, looker, server, (fault, step)), True
            except (AssertionError, RuntimeError) as error:
                outcome, right = str(error)[:1000], False
            servers.delete(server, seconds=BOOT)
            for machine in steel.rack.machines:
                node = FaultNode(steel, machine.name, image)
                node.back(BOOT)
                node.clean()
            yield fault, step, right, outcome
        servers.end()
        servers.api.delete_flavor(flavor)
        tenant.end()


def _elsewhere(steel: Steel, servers: Servers, looker: Guest, server: Any, case: tuple[str, str]) -> str:
    fault, step = case
    found = until(lambda: steel.sql("SELECT name FROM node WHERE instance_id = ?", server.id), 60, "it has a Node")
    first = str(found[0]["name"])
    node = FaultNode(steel, first, "")
    node.come("deploy", step)
    node.fault(first, fault)
    try:
        active = servers.active(server, 600)
        second = str(steel.sql("SELECT name FROM node WHERE instance_id = ?", server.id)[0]["name"])
        assert second != first, f"it was deployed on {first} in spite of the fault"
        looker.reaches(servers.fixed(active), seconds=BOOT)
        row = steel.row(first)
        lines = steel.sql("SELECT event FROM node_history WHERE node_id = ? AND severity = 'ERROR'", row["id"])
        assert lines, "the history of the first Node says nothing"
    finally:
        node.mend(first)
    return f"ok: from {first} to {second}; {lines[-1]['event'][:120]}"
