"""What a Host is and how much it has, as libvirt says. How long it is up libvirt does not say, and nobody of ours is on
the Host to be asked: that is known of the machine that this process is on."""

import os
import subprocess
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlsplit

from hagane.drivers.hypervisor.base import HostFacts
from hagane.drivers.hypervisor.libvirt_storage import disk_size

UPTIME_SECONDS = 5.0


def is_local(uri: str) -> bool:
    """Whether libvirt is reached by a socket of this machine: "qemu:///system", "qemu+unix:///system?socket=..."."""
    parts = urlsplit(uri)
    return not parts.netloc and parts.scheme.partition("+")[2] in ("", "unix")


def read_uptime() -> str | None:
    """Of this machine, as the real service reads it. Blocks."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["uptime"], env=environment, capture_output=True, text=True, timeout=UPTIME_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip("\n") or None


def read_facts(connection: Any, *, local: bool) -> HostFacts:
    """Blocks."""
    _model, memory_mb, cpus, _mhz, nodes, sockets, cores, threads = connection.getInfo()
    cpu = ET.fromstring(connection.getCapabilities()).find("host/cpu")
    described: dict[str, object] = {
        "topology": {"cells": nodes, "sockets": sockets, "cores": cores, "threads": threads}
    }
    if cpu is not None:
        described |= {name: cpu.findtext(name, "") for name in ("arch", "model", "vendor")}
        described["features"] = [feature.get("name", "") for feature in cpu.findall("feature")]
    return HostFacts(
        hostname=connection.getHostname(),
        vcpus=cpus,
        memory_mb=memory_mb,
        disk_gb=disk_size(connection) >> 30,
        kind=str(connection.getType()),
        version=connection.getVersion(),
        cpu=described,
        uptime=read_uptime() if local else None,
    )
