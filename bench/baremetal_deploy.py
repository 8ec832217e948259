"""A real deployment in the lab's rack: from POST /servers to the first ping, step by step; then several at once.

    python bench/baremetal_deploy.py [--machines 8]        root and the real devices; about three minutes with eight

What is ours is told apart from what BMC, firmware, kernel and disk take of an emulated machine: the process's own CPU
time, since whatever else passes is waiting for them.
Several at once are compared with what their own work forces: the CPU seconds that everything on this machine used,
divided by its cores.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud import ROOT, environment
from report import Number, table

sys.path.insert(0, str(ROOT / "src"))

from measure.boot import RealCloud

from hagane.lab import guest

WHOSE = {
    "schedule": "ours", "tenant-network": "ours", "provisioning-network": "ours",
    "power-on": "BMC", "tenant-switch": "ours", "reboot": "BMC",
    "dhcp": "firmware", "ramdisk": "firmware", "callback": "kernel",
    "write-image": "disk", "tenant-dhcp": "the image's own start", "reachable": "the image's own start",
}  # fmt: skip
FLAVOR = {"resources:CUSTOM_BM_SMALL": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0"}
LONGEST = 600.0
IRONIC = {"X-OpenStack-Ironic-API-Version": "1.87"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure deployments.")
    parser.add_argument("--machines", type=int, default=8)
    count = parser.parse_args().machines
    if os.geteuid() != 0:
        raise SystemExit("real deployments need root and the real devices")
    folder = Path(tempfile.mkdtemp(prefix="hagane-bench-", dir="/var/tmp"))
    try:
        cloud = RealCloud(folder)
        try:
            _rack(cloud, count)
            order, external = _prepare(cloud)
            numbers = _one(cloud, order, external)
            if count > 1:
                numbers += _many(cloud, order, external, count)
        finally:
            cloud.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(numbers))
    return 0 if all(number.good is not False for number in numbers) else 1


def _rack(cloud: RealCloud, count: int) -> None:
    """Build it, enrol it, bring every Node to `available`."""
    file = cloud.folder / "rack.toml"
    file.write_text("".join(f'[[machine]]\nname = "bm{number}"\nnics = 1\n' for number in range(count)))
    _hagane(cloud, "lab", "up", str(file))
    _hagane(cloud, "enroll", str(cloud.state / "lab" / "rack1.toml"))
    for verb, state in (("manage", "manageable"), ("provide", "available")):
        for number in range(count):
            path = f"/baremetal/v1/nodes/bm{number}/states/provision"
            status, body, _ = cloud.call("PUT", path, {"target": verb}, cloud.token, **IRONIC)
            assert status == 202, body
        _settled(cloud, state)


def _hagane(cloud: RealCloud, *words: str) -> None:
    argv = [sys.executable, "-m", "hagane", *words, *cloud._words()]
    subprocess.run(argv, env=environment(), check=True, stdout=subprocess.DEVNULL)


def _settled(cloud: RealCloud, state: str) -> None:
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        nodes = cloud.call("GET", "/baremetal/v1/nodes", None, cloud.token, **IRONIC)[1]["nodes"]
        if failed := [node for node in nodes if "failed" in node["provision_state"]]:
            raise RuntimeError(f"a Node failed: {failed[0]}")
        if all(node["provision_state"] == state for node in nodes):
            return
        time.sleep(0.2)
    raise RuntimeError(f"not all Nodes are {state} after {LONGEST:.0f} s")


def _prepare(cloud: RealCloud) -> tuple[dict[str, Any], str]:
    """Image, flavor, network, router, rule; the order of a Server, and the external network."""
    image = {"name": "guest", "container_format": "bare", "disk_format": "qcow2"}
    made = cloud.ask("POST", "/image/v2/images", image)["id"]
    cloud.ask("PUT", f"/image/v2/images/{made}/file", guest.build().path.read_bytes())
    flavor = {"name": "bm.small", "ram": 384, "disk": 1, "vcpus": 1}
    flavor_id = cloud.ask("POST", "/compute/v2.1/flavors", {"flavor": flavor})["flavor"]["id"]
    cloud.ask("POST", f"/compute/v2.1/flavors/{flavor_id}/os-extra_specs", {"extra_specs": FLAVOR})
    network = cloud.ask("POST", "/network/v2.0/networks", {"network": {"name": "bench"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}
    subnet_id = cloud.ask("POST", "/network/v2.0/subnets", {"subnet": subnet})["subnet"]["id"]
    external: str = cloud.ask("GET", "/network/v2.0/networks?router:external=true")["networks"][0]["id"]
    router = {"name": "bench", "external_gateway_info": {"network_id": external}}
    router_id = cloud.ask("POST", "/network/v2.0/routers", {"router": router})["router"]["id"]
    cloud.ask("PUT", f"/network/v2.0/routers/{router_id}/add_router_interface", {"subnet_id": subnet_id})
    groups = cloud.ask("GET", f"/network/v2.0/security-groups?project_id={cloud.project}&name=default")
    rule = {"security_group_id": groups["security_groups"][0]["id"], "direction": "ingress", "protocol": "icmp",
            "ethertype": "IPv4"}  # fmt: skip
    cloud.ask("POST", "/network/v2.0/security-group-rules", {"security_group_rule": rule})
    return {"name": "bench", "imageRef": made, "flavorRef": flavor_id, "networks": [{"uuid": network}]}, external


def _deploy(cloud: RealCloud, order: dict[str, Any], external: str) -> tuple[str, float]:
    """Order one, and ping it until it answers: its id, and the seconds that took."""
    began = time.monotonic()
    server: str = cloud.ask("POST", "/compute/v2.1/servers", {"server": order})["server"]["id"]
    port = cloud.ask("GET", f"/network/v2.0/ports?device_id={server}")["ports"][0]["id"]
    floating = {"floating_network_id": external, "port_id": port}
    address = cloud.ask("POST", "/network/v2.0/floatingips", {"floatingip": floating})["floatingip"]
    ping = ["ping", "-c1", "-W1", address["floating_ip_address"]]
    quiet = subprocess.DEVNULL
    while subprocess.run(ping, stdout=quiet, stderr=quiet, check=False).returncode:
        if time.monotonic() - began > LONGEST:
            state = cloud.ask("GET", f"/compute/v2.1/servers/{server}")["server"]
            raise RuntimeError(f"no ping after {LONGEST:.0f} s: {state['status']} {state.get('fault')}")
        time.sleep(0.1)
    return server, time.monotonic() - began


def _steps(cloud: RealCloud, server: str) -> dict[str, float]:
    """Step -> seconds, in order; waits for the last one, which is told once it was seen."""
    path = f"/compute/v2.1/servers/{server}/os-instance-actions"
    request = cloud.ask("GET", path)["instanceActions"][0]["request_id"]
    until = time.monotonic() + 30
    while True:
        told = cloud.ask("GET", f"{path}/{request}")["instanceAction"]["events"]
        done = {one["event"]: _seconds(one) for one in sorted(told, key=lambda one: str(one["start_time"]))}
        if "reachable" in done or time.monotonic() > until:
            return done
        time.sleep(0.2)


def _seconds(one: dict[str, str]) -> float:
    if not one["finish_time"]:
        return 0.0
    return (datetime.fromisoformat(one["finish_time"]) - datetime.fromisoformat(one["start_time"])).total_seconds()


def _one(cloud: RealCloud, order: dict[str, Any], external: str) -> list[Number]:
    used = cloud.cpu()
    server, ping = _deploy(cloud, order, external)
    used = cloud.cpu() - used
    steps = _steps(cloud, server)
    numbers = [Number("POST /servers to the first ping of bare metal", ping, "s")]
    numbers += [Number(f"  {name}", seconds, "s", note=WHOSE.get(name, "")) for name, seconds in steps.items()]
    whose = dict.fromkeys(WHOSE.values(), 0.0)
    for name, seconds in steps.items():
        whose[WHOSE.get(name, "ours")] += seconds
    told = ", ".join(f"{name} {seconds / ping:.0%}" for name, seconds in whose.items())
    numbers += [
        Number(
            "  ours: CPU of the process, polls and pings of this program included",
            used,
            "s",
            target=2.0,
            more=False,
            note=told,
        ),
        Number("  ours, of all", used / ping * 100, "%", target=10.0, more=False),
    ]
    _gone(cloud, [server])
    return numbers


def _many(cloud: RealCloud, order: dict[str, Any], external: str, count: int) -> list[Number]:
    began, busy, used = time.monotonic(), _busy(), cloud.cpu()
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda _: _deploy(cloud, order, external), range(count)))
    whole, busy, used = time.monotonic() - began, _busy() - busy, cloud.cpu() - used
    forced = busy / (os.cpu_count() or 1)
    _gone(cloud, [server for server, _ in found])
    return [
        Number(f"{count} at once, to the last ping", whole, "s",
               note=f"CPU forces {forced:.1f} s; the process used {used:.2f} s of {busy:.0f} s CPU"),
        Number("  beside what the CPU forces", whole / forced, "times", target=1.5, more=False),
    ]  # fmt: skip


def _busy() -> float:
    """CPU seconds that this machine has used."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _gone(cloud: RealCloud, servers: list[str]) -> None:
    for server in servers:
        cloud.ask("DELETE", f"/compute/v2.1/servers/{server}")
    for address in cloud.ask("GET", "/network/v2.0/floatingips")["floatingips"]:
        cloud.ask("DELETE", f"/network/v2.0/floatingips/{address['id']}")
    _settled(cloud, "available")


if __name__ == "__main__":
    sys.exit(main())
