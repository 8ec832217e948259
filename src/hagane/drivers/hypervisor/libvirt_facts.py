"""What a Host is and how much it has, as libvirt says."""

import xml.etree.ElementTree as ET
from typing import Any

from hagane.drivers.hypervisor.base import HostFacts
from hagane.drivers.hypervisor.libvirt_storage import disk_size


def read_facts(connection: Any) -> HostFacts:
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
    )
