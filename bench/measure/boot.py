"""A real boot: from POST /servers to ACTIVE, to the guest's own word that it is ready, and to the first ping.

It starts a lab of its own (`hagane up` with other names and folders) and removes it afterwards. The time before QEMU's
process exists is ours: order, placement, ports, disk, libvirt. What comes after it is QEMU's and the guest's.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cloud import Cloud, environment, free_port
from report import Number

from hagane.lab import guest

READY = re.compile(r"HAGANE-GUEST-READY uptime=(\S+)")
PREFIX, EXTERNAL, EXTERNAL_V6 = "hgb", "198.18.77.0/24", "2001:2:0:b::/64"  # RFC 2544, RFC 5180
BOOTS = 3


class RealCloud(Cloud):
    """`hagane up` on this machine's real devices, beside whatever else runs there."""

    def _up(self) -> None:
        port = free_port()
        settings = {"prefix": PREFIX, "run": f"/run/{PREFIX}", "external_network": EXTERNAL,
                    "external_network_v6": EXTERNAL_V6}  # fmt: skip
        lines = ["[hagane]", *(f'{name} = "{value}"' for name, value in settings.items())]
        (self.folder / "hagane.toml").write_text("\n".join(lines) + "\n")
        self.folder.chmod(0o711)  # QEMU runs as another user
        command = [sys.executable, "-m", "hagane", "up", *self._words(), "--listen", f"127.0.0.1:{port}"]
        self.start(command, port, self.folder / "log", patience=180)
        self.token, self.project = self.login()

    def _words(self) -> list[str]:
        return ["--config", str(self.folder / "hagane.toml"), "--state", str(self.state)]

    def stop(self) -> None:
        self.end()
        down = [sys.executable, "-m", "hagane", "down", "--delete", *self._words()]
        subprocess.run(down, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(f"/run/{PREFIX}", ignore_errors=True)
        super().stop()


def numbers() -> list[Number]:
    """Boot a few machines one after the other; the best of each time. Raises RuntimeError without root."""
    if os.geteuid() != 0:
        raise RuntimeError("a real boot needs root and the real devices")
    folder = Path(tempfile.mkdtemp(prefix="hagane-bench-", dir="/var/tmp"))
    try:
        cloud = RealCloud(folder)
        try:
            body, network = _prepare(cloud)
            boots = [_boot(cloud, body, network) for _ in range(BOOTS)]
        finally:
            cloud.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    best = {name: min(boot[name] for boot in boots) for name in boots[0]}
    total = best["ready"]
    return [
        Number("POST /servers to ACTIVE", best["active"], "s"),
        Number("  to the guest's word that it is ready", total, "s",
               note=f"{best['uptime']:.1f} s of it since its kernel began"),
        Number("  to the first ping", best["ping"], "s", note="through the floating IP"),
        Number("  before QEMU's process: ours", best["qemu"], "s", note=f"{best['qemu'] / total:.1%} of all"),
    ]  # fmt: skip


def _prepare(cloud: Cloud) -> tuple[bytes, str]:
    """Image, networks, router, rules; the body of an order, and the external network."""
    image = {"name": "guest", "container_format": "bare", "disk_format": "qcow2"}
    made = cloud.ask("POST", "/image/v2/images", image)["id"]
    cloud.ask("PUT", f"/image/v2/images/{made}/file", guest.build().path.read_bytes())
    flavors = cloud.ask("GET", "/compute/v2.1/flavors")["flavors"]
    flavor = next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.nano")
    network = cloud.ask("POST", "/network/v2.0/networks", {"network": {"name": "bench"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}
    subnet_id = cloud.ask("POST", "/network/v2.0/subnets", {"subnet": subnet})["subnet"]["id"]
    external = cloud.ask("GET", "/network/v2.0/networks?router:external=true")["networks"][0]["id"]
    router = {"name": "bench", "external_gateway_info": {"network_id": external}}
    router_id = cloud.ask("POST", "/network/v2.0/routers", {"router": router})["router"]["id"]
    cloud.ask("PUT", f"/network/v2.0/routers/{router_id}/add_router_interface", {"subnet_id": subnet_id})
    group = cloud.ask("GET", f"/network/v2.0/security-groups?project_id={cloud.project}")["security_groups"][0]["id"]
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "icmp", "ethertype": "IPv4"}
    cloud.ask("POST", "/network/v2.0/security-group-rules", {"security_group_rule": rule})
    server = {"name": "bench", "imageRef": made, "flavorRef": flavor, "networks": [{"uuid": network}]}
    return json.dumps({"server": server}).encode(), external


def _boot(cloud: Cloud, body: bytes, external: str) -> dict[str, float]:
    """Seconds from the order on."""
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    server = cloud.ask("POST", "/compute/v2.1/servers", json.loads(body))["server"]["id"]
    port = cloud.ask("GET", f"/network/v2.0/ports?device_id={server}")["ports"][0]["id"]
    floating = {"floating_network_id": external, "port_id": port}
    made = cloud.ask("POST", "/network/v2.0/floatingips", {"floatingip": floating})["floatingip"]
    address = made["floating_ip_address"]
    times: dict[str, float] = {}
    while len(times) < 4:
        if time.clock_gettime(time.CLOCK_BOOTTIME) - began > 120:
            raise RuntimeError(f"the machine is not ready after 120 s; it is: {sorted(times)}")
        _look(cloud, server, address, times, began)
        time.sleep(0.02)
    times["qemu"] = times.pop("qemu_at") - began
    cloud.ask("DELETE", f"/compute/v2.1/servers/{server}")
    cloud.ask("DELETE", f"/network/v2.0/floatingips/{made['id']}")
    return times


def _look(cloud: Cloud, server: str, address: str, times: dict[str, float], began: float) -> None:
    """Note what has happened since."""

    def note(name: str, happened: Any) -> None:
        if name not in times and happened:
            times[name] = time.clock_gettime(time.CLOCK_BOOTTIME) - began

    if "qemu_at" not in times and (started := _qemu(server)):
        times["qemu_at"] = started
    if "active" not in times:
        note("active", cloud.ask("GET", f"/compute/v2.1/servers/{server}")["server"]["status"] == "ACTIVE")
        return
    if "ping" not in times:
        ping = ["ping", "-c1", "-W1", "-i0.2", address]
        quiet = subprocess.DEVNULL
        note("ping", subprocess.run(ping, stdout=quiet, stderr=quiet, check=False).returncode == 0)
    log = cloud.ask("POST", f"/compute/v2.1/servers/{server}/action", {"os-getConsoleOutput": {}})["output"]
    if found := READY.search(log):
        note("ready", True)
        times["uptime"] = float(found[1])


def _qemu(server: str) -> float:
    """When the machine's process was started (seconds since this machine's boot), or 0."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and server in (folder / "cmdline").read_text().split("\0")[2]:
                ticks = (folder / "stat").read_text().rpartition(")")[2].split()[19]
                return int(ticks) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            continue
    return 0.0
