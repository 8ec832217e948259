"""The file by which a cloud gets to know the rack: `hagane enroll` reads it. It holds the BMCs' password."""

import json
from collections.abc import Iterator, Mapping

from hagane.lab import host, rack_bmc
from hagane.lab.rack_description import MachineDescription
from hagane.lab.rack_place import IPMI_PORT, OVSDB_PORT, TRUNK_BRIDGE, Rack


def text(rack: Rack) -> str:
    """The file's content (TOML)."""
    return "\n".join(_lines(rack)) + "\n"


def _lines(rack: Rack) -> Iterator[str]:
    described = rack.described
    yield "# Written by `hagane lab up`. To take this rack into the cloud: hagane enroll <this file>"
    facts = {"name": rack.name, "physical_network": described.physical_network, "vlans": described.vlans}
    yield from _table("[rack]", facts)
    switch = {"name": rack.switch, "driver": "ovsdb", "chassis_id": rack.chassis_id}
    yield from _table("[[switch]]", {**switch, "address": str(rack.address(rack.switch)), "port": OVSDB_PORT})
    for name in rack.gateways:
        bridges = {"trunk_bridge": TRUNK_BRIDGE, "integration_bridge": host.INTEGRATION}
        remote = f"tcp:{rack.address(name)}:{OVSDB_PORT}"
        yield from _table("[[gateway]]", {"name": name, "ovsdb": remote, **bridges, "switch": rack.switch,
                                          "switch_port": name})  # fmt: skip
    for machine in rack.machines:
        yield from _node(rack, machine)


def _node(rack: Rack, machine: MachineDescription) -> Iterator[str]:
    boot = {"boot_interface": machine.boot_interface} if machine.boot_interface else {}
    facts: dict[str, object] = {"name": machine.name, "driver": machine.bmc, "resource_class": machine.resource_class}
    facts |= {"storage_interface": "cinder", "traits": list(machine.traits), **boot}
    yield from _table("[[node]]", facts)
    yield from _table("[node.driver_info]", _access(rack, machine))
    capabilities = f"boot_mode:{machine.boot_mode},iscsi_boot:true" + (
        ",secure_boot:true" if machine.secure_boot else ""
    )
    yield from _table("[node.properties]", {"capabilities": capabilities})
    for number, (mac, port) in enumerate(rack.nics(machine)):
        # Where the first NIC hangs must be known for the ramdisk to be reached; the others it finds out by LLDP.
        link = {"switch": rack.switch, "port": port} if number == 0 else {}
        yield from _table("[[node.nic]]", {"mac": mac, **link, "pxe": number == 0})


def _access(rack: Rack, machine: MachineDescription) -> dict[str, object]:
    address, password = str(rack.address(machine.name)), rack_bmc.password(rack)
    ipmi: dict[str, object] = {"ipmi_address": address, "ipmi_port": IPMI_PORT, "ipmi_username": rack_bmc.USERNAME,
                               "ipmi_password": password}  # fmt: skip
    if machine.bmc == "ipmi":
        return ipmi
    tls = rack.described.tls
    return {
        "redfish_address": f"{'https' if tls else 'http'}://{address}",
        "redfish_system_id": f"/redfish/v1/Systems/{rack.uuid(machine.name)}",
        "redfish_username": rack_bmc.USERNAME, "redfish_password": password,
        "redfish_verify_ca": str(rack_bmc.certificate(rack)) if tls else False,
        **ipmi,
    }  # fmt: skip


def _table(head: str, facts: Mapping[str, object]) -> Iterator[str]:
    """JSON's strings, numbers, booleans and lists of strings are TOML's too."""
    yield ""
    yield head
    for name, value in facts.items():
        yield f"{name} = {json.dumps(value)}"
