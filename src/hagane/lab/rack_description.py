"""What a rack consists of, as a typed TOML file; `rack.toml` beside this file is the default.

[[machine]]
name = "bm1"
bmc = "redfish"             # or "ipmi"
memory_mb = 384
disks_gb = [4, 1]
"""

import re
import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from hagane.errors import Invalid

DEFAULT = Path(__file__).with_name("rack.toml")
Count = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]{0,9}$")]


class MachineDescription(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One virtual bare-metal server."""

    name: Name
    bmc: Literal["redfish", "ipmi"] = "redfish"
    boot_mode: Literal["bios", "uefi"] = "bios"  # as it left the factory
    secure_boot: bool = False  # only with UEFI: the firmware starts nothing that is not signed
    memory_mb: Annotated[int, msgspec.Meta(ge=128)] = 384
    vcpus: Count = 1
    disks_gb: tuple[Count, ...] = (2,)  # sparse: they take what is written to them
    nics: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    resource_class: str = "bm.small"
    traits: tuple[str, ...] = ()
    boot_interface: str = ""  # "": the driver's own choice


class RackDescription(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One rack: a switch, its gateways, its machines."""

    name: Name = "rack1"
    physical_network: Name = "rack1"
    vlans: str = "1001-1999"
    switch: Name = "tor1"
    gateways: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    out_of_band: str = ""  # the network of BMCs and switches; "": one of this lab's own
    tls: bool = True  # Redfish over https, with a certificate of the lab's own
    lldp: bool = True  # the switch says on every cable who it is
    machine: tuple[MachineDescription, ...] = ()


def load(path: Path | None) -> RackDescription:
    """Read a description (None: the default). Raises Invalid with file and reason."""
    file = path or DEFAULT
    try:
        described = msgspec.convert(tomllib.loads(file.read_text()), RackDescription)
        _check(described)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise Invalid(f"{file}: {error}", code="BadConfig") from error
    return described


def _check(described: RackDescription) -> None:
    """What the types cannot say. Raises ValueError."""
    names = [machine.name for machine in described.machine]
    gateways = [f"gw{number}" for number in range(1, described.gateways + 1)]
    taken = [*names, described.switch, *gateways]
    if not names:
        raise ValueError("a rack needs at least one [[machine]]")
    if len(set(taken)) != len(taken) or {"oob", "fabric", "central"} & set(taken):
        raise ValueError("machines, switch and gateways need names of their own")
    pool = re.fullmatch(r"(\d+)-(\d+)", described.vlans)
    if pool is None or not 1 < int(pool[1]) <= int(pool[2]) < 4095:
        raise ValueError(f"vlans is FIRST-LAST within 2-4094, not {described.vlans!r}")
    if described.out_of_band and IPv4Network(described.out_of_band).num_addresses < 64:
        raise ValueError("out_of_band needs 64 addresses or more")
    for machine in described.machine:
        if machine.secure_boot and machine.boot_mode != "uefi":
            raise ValueError(f'{machine.name}: secure_boot needs boot_mode = "uefi"')
