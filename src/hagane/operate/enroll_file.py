"""The file that `hagane enroll` reads: a rack with its switches, gateways and Nodes, as typed TOML.

[rack] name physical_network vlans            [provisioning] network cidr       [storage] network cidr
[[switch]] name driver address ...            [[gateway]] name ovsdb switch switch_port ...
[[node]] name driver resource_class traits    [node.driver_info]  [node.properties]
[[node.nic]] mac switch port pxe              (switch and port of NICs that do not boot may be left to inspection)
"""

import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hagane.errors import Invalid

Mac = Annotated[str, msgspec.Meta(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class RackHead(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    physical_network: Name
    vlans: str = "1001-1999"


class Provisioning(msgspec.Struct, forbid_unknown_fields=True):
    network: Name = "provisioning"
    cidr: str = "172.30.16.0/22"


class Storage(msgspec.Struct, forbid_unknown_fields=True):
    """By which Nodes reach the volumes that they start from."""

    network: Name = "storage"
    cidr: str = "172.30.20.0/22"


class Nic(msgspec.Struct, forbid_unknown_fields=True):
    mac: Mac
    switch: str = ""
    port: str = ""
    pxe: bool = True


class Node(msgspec.Struct, forbid_unknown_fields=True):
    """`<name>_interface` are those of the Node; what is left out is the driver's choice."""

    name: Name
    driver: Name
    resource_class: str | None = None
    driver_info: dict[str, Any] = msgspec.field(default_factory=dict)
    properties: dict[str, Any] = msgspec.field(default_factory=dict)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    traits: list[str] = msgspec.field(default_factory=list)
    nic: list[Nic] = msgspec.field(default_factory=list)
    owner: str | None = None
    boot_interface: str | None = None
    deploy_interface: str | None = None
    inspect_interface: str | None = None
    management_interface: str | None = None
    network_interface: str | None = None
    power_interface: str | None = None
    storage_interface: str | None = None

    def intent(self) -> dict[str, Any]:
        """The Node's own fields as the bare-metal API names them, but for its traits."""
        plain = msgspec.to_builtins(self)
        return {key: value for key, value in plain.items() if value is not None and key not in ("traits", "nic")}


class Enrolment(msgspec.Struct, forbid_unknown_fields=True):
    """Switches and gateways are as PUT /hagane/v1/racks takes them; there they are checked."""

    rack: RackHead
    switch: list[dict[str, Any]] = msgspec.field(default_factory=list)
    gateway: list[dict[str, Any]] = msgspec.field(default_factory=list)
    node: list[Node] = msgspec.field(default_factory=list)
    provisioning: Provisioning = msgspec.field(default_factory=Provisioning)
    storage: Storage = msgspec.field(default_factory=Storage)

    def document(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self.rack), "switches": self.switch, "gateways": self.gateway}

    def link(self, nic: Nic) -> dict[str, str]:
        """A Nic's local_link_connection; {}: left to inspection."""
        if not nic.switch:
            return {}
        named: dict[str, Any] = next((one for one in self.switch if one.get("name") == nic.switch), {})
        return {"switch_id": str(named["chassis_id"]).lower(), "port_id": nic.port, "switch_info": nic.switch}


def load(path: Path) -> Enrolment:
    """Raises Invalid with file and reason."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), Enrolment)
        for part in (found.provisioning, found.storage):
            IPv4Network(part.cidr)
        _check(found)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise Invalid(f"{path}: {error}", code="BadConfig") from error
    return found


def _check(found: Enrolment) -> None:
    """What the types cannot say. Raises ValueError."""
    known = {str(switch.get("name")): switch for switch in found.switch}
    seen: dict[str, str] = {}
    for node in found.node:
        for nic in node.nic:
            if bool(nic.switch) != bool(nic.port):
                raise ValueError(f"Nic {nic.mac} of {node.name}: switch and port go together")
            if nic.switch and not known.get(nic.switch, {}).get("chassis_id"):
                raise ValueError(
                    f"Nic {nic.mac} of {node.name} hangs on switch {nic.switch}, which has no chassis_id here"
                )
            for key in (nic.mac.lower(), *([f"{nic.switch} {nic.port}"] if nic.switch else ())):
                if key in seen:
                    raise ValueError(f"{key} is named twice: by {seen[key]} and by {node.name}")
                seen[key] = node.name
