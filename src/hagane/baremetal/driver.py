"""Drivers: which kinds of BMC there are, and which interface each may use for what; the first is the default.

The names are those of the real service, so that enrolment files and modules that name them work unchanged. What does
nothing here is not offered: no driver and no ramdisk of ours makes a RAID, none has calls of a vendor's own. The
firmware interface of `redfish` shows versions, and updates none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.baremetal import san
from hagane.baremetal.base import CONDUCTOR, V1, at, boolean, links, need, query, require
from hagane.baremetal.node_row import INTERFACES
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row

_COMMON: dict[str, tuple[str, ...]] = {
    "bios": ("no-bios",),
    "boot": ("ipxe", "pxe", "http-ipxe", "http"),
    "console": ("no-console",),
    "deploy": ("direct", "ansible"),
    "firmware": ("no-firmware",),
    "inspect": ("agent", "no-inspect"),
    "network": ("neutron", "noop"),
    "raid": ("no-raid",),
    "rescue": ("agent", "no-rescue"),
    "storage": ("noop", "cinder"),
    "vendor": ("no-vendor",),
}
MEDIA = "redfish-virtual-media"
"""Two to three times as fast to the ramdisk as PXE (docs/decisions/provisioning.md): the default where there is a BMC
that has it."""
DRIVERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "redfish": _COMMON
    | {"power": ("redfish",), "management": ("redfish",), "boot": (MEDIA, *_COMMON["boot"]),
       "inspect": ("agent", "redfish", "no-inspect"), "bios": ("redfish", "no-bios"),
       "firmware": ("redfish", "no-firmware"), "console": ("no-console", "ipmitool-socat")},
    "ipmi": _COMMON | {"power": ("ipmitool",), "management": ("ipmitool",),
                       "console": ("ipmitool-socat", "no-console")},
    "fake-hardware": {name: ("fake", f"no-{name}") for name in INTERFACES}
    | {"network": ("noop", "flat", "neutron"), "storage": ("noop", "fake", "cinder"), "deploy": ("fake", "direct"),
       "inspect": ("fake", "agent", "no-inspect"), "rescue": ("fake", "agent", "no-rescue"),
       "boot": ("fake", *_COMMON["boot"]), "power": ("fake",), "management": ("fake",)},
}  # fmt: skip
"""driver -> interface -> what may be named there. `fake-hardware` is a simulated machine with a simulated BMC;
with the deploy interface "direct" a simulated ramdisk runs on it. `flat` is for machines that have no wires: somebody
else's network, in which all Nics stay."""

FACTORY: Row = {
    "boot_device": {"boot_device": "disk", "persistent": True}, "boot_devices": ["pxe", "disk", "cdrom", "uefihttp"],
    "indicators": {"led@system": {"state": "off", "readonly": False, "states": ["on", "off", "blinking"]}},
}  # fmt: skip
"""What the BMC of a simulated machine shows before anybody has asked it for anything (drivers/bmc/sim.py)."""

_NETWORKS = {
    f"{role}_network": f"UUID or name of a network of the administrators, {what}. Optional, the default is {default!r}"
    for role, what, default in (
        ("provisioning", "in which the ramdisk of a deployment runs", "provisioning"),
        ("cleaning", "in which the ramdisk of a cleaning or a service runs", "provisioning"),
        ("rescuing", "in which the ramdisk of a rescue runs", "provisioning"),
        ("inspection", "in which the ramdisk of an inspection runs", "provisioning"),
        ("storage", "by which the machine reaches the volume that it boots from", "storage"),
    )
}
PROPERTIES: Mapping[str, Mapping[str, str]] = {
    "redfish": {
        "redfish_address": "The URL address to the Redfish controller. It must include the authority portion of the "
        "URL. If the scheme is missing, https is assumed. Required",
        "redfish_system_id": "The canonical path to the ComputerSystem resource that the driver will interact with. "
        "It should include the root service, version and the unique resource path to a ComputerSystem. Required if "
        "the target BMC manages more than one ComputerSystem.",
        "redfish_username": "User account with admin/server-profile access privilege. Optional",
        "redfish_password": "User account password. Optional",
        "ipmi_address": "IP address or hostname of the node's BMC. Only required for console access.",
        "redfish_verify_ca": "Either a Boolean value, a path to a CA_BUNDLE file or directory with certificates of "
        "trusted CAs. Defaults to True. Optional",
        "deploy_kernel": "URL or Glance UUID of the deployment kernel. Required.",
        "deploy_ramdisk": "URL or Glance UUID of the ramdisk. Required.",
    } | _NETWORKS,
    "ipmi": {
        "ipmi_address": "IP address or hostname of the node. Required.",
        "ipmi_username": "username; default is NULL user. Optional.",
        "ipmi_password": "password. Optional.",
        "ipmi_port": "remote IPMI RMCP port. Optional.",
        "ipmi_terminal_port": "node's UDP port to connect to. Only required for console access.",
        "deploy_kernel": "URL or Glance UUID of the deployment kernel. Required.",
        "deploy_ramdisk": "URL or Glance UUID of the ramdisk. Required.",
    } | _NETWORKS,
    "fake-hardware": _NETWORKS,
}  # fmt: skip
"""What `driver_info` of a Node may hold, in words."""

REQUIRED_INFO = {"redfish": ("redfish_address",), "ipmi": ("ipmi_address",), "fake-hardware": ()}
NO = ("no-",)


def complete(row: Row, *, reset: bool = False) -> Row:
    """The interfaces that a Node's driver gives it: what is named is checked, the rest gets the default. Raises Invalid
    for a driver or an interface that there is not."""
    known = DRIVERS.get(row["driver"])
    if known is None:
        raise Invalid(
            f"No valid host was found. Reason: No conductor service registered which supports driver {row['driver']} "
            f'for conductor group "{row.get("conductor_group") or ""}". Ensure the driver is valid and enabled.'
        )
    found: Row = {}
    for interface, names in known.items():
        column = f"{interface}_interface"
        named = None if reset else row.get(column)
        if named is not None and named not in names:
            raise Invalid(
                f"Could not find the following interface in the 'ironic.hardware.interfaces.{interface}' entrypoint: "
                f"{named}. Valid interfaces are {list(names)}."
            )
        found[column] = named or _default(interface, names, row)
    return found


def _default(interface: str, names: tuple[str, ...], row: Row) -> str:
    """The first one; but a BMC that is known to speak IPMI beside Redfish has the serial console that Redfish lacks."""
    if interface == "console" and row["driver"] == "redfish" and (row.get("driver_info") or {}).get("ipmi_address"):
        return "ipmitool-socat"
    return names[0]


def validate(row: Row, targets: Sequence[Row] = ()) -> dict[str, Any]:
    """Whether each interface of a Node has what it needs, and what lacks, in words. `targets`: its volume targets."""
    info: dict[str, Any] = row["driver_info"] or {}
    answer: dict[str, Any] = {}
    for interface in INTERFACES:
        used = row[f"{interface}_interface"] or ""
        reason = san.lack(row, targets) if interface == "storage" else _lack(interface, used, row, info, targets)
        if used.startswith(NO):
            answer[interface] = {"result": None, "reason": "not supported"}
        else:
            answer[interface] = {"result": False, "reason": reason} if reason else {"result": True}
    return {name: result for name, result in answer.items() if name != "vendor"}


def _lack(interface: str, used: str, row: Row, info: dict[str, Any], targets: Sequence[Row]) -> str:
    if used in ("fake", "noop", ""):
        return ""
    lacking = [name for name in REQUIRED_INFO[row["driver"]] if not info.get(name)]
    if interface == "console" and not info.get("ipmi_address"):
        return "Missing the following IPMI credentials in node's driver_info: ['ipmi_address']."
    if interface in ("power", "management", "bios") and lacking:
        return f"Missing the following {row['driver']} credentials in node's driver_info: {lacking}."
    image = row["instance_info"] or {}
    if interface in ("boot", "deploy") and not image.get("image_source") and san.root(row, targets) is None:
        return (f"Node {row['id']} failed to validate deploy image info. Some parameters were missing. "
                "Missing are: ['instance_info.image_source']")  # fmt: skip
    return ""


def _view(request: Request, name: str, *, detail: bool) -> dict[str, Any]:
    view: dict[str, Any] = {"name": name, "hosts": [CONDUCTOR], "links": links(request, f"drivers/{name}")}
    if at(request, 14):
        view["properties"] = links(request, f"drivers/{name}/properties")
    if at(request, 30):
        view["type"] = "dynamic"
        if detail:
            for interface, names in DRIVERS[name].items():
                if request.version >= (1, int(INTERFACES[interface].partition(".")[2])):
                    view[f"default_{interface}_interface"] = names[0]
                    view[f"enabled_{interface}_interfaces"] = list(names)
    return view


def _known(name: str) -> str:
    if name not in DRIVERS:
        raise NotFound(f"Could not find the following driver(s) or hardware type(s): {name}.")
    return name


def _picked(request: Request, view: dict[str, Any]) -> dict[str, Any]:
    text = request.args.get("fields")
    if text is None:
        return view
    require(request, 77)
    wanted = {name.strip() for name in text.split(",")}
    if unknown := sorted(wanted - view.keys()):
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid.')
    return {name: value for name, value in view.items() if name in wanted or name == "links"}


async def _list(request: Request) -> Response:
    need(request, "baremetal:driver:get")
    args = query(request, ("type", "detail", "fields"))
    detail = bool(boolean("detail", args.get("detail"))) or "fields" in args
    if args.get("type") is not None or "detail" in args:
        require(request, 30)
    kind = args.get("type")
    if kind not in (None, "classic", "dynamic"):
        raise Invalid('"type" filter must be one of "classic" or "dynamic", if specified.')
    names = [] if kind == "classic" else list(DRIVERS)
    return json_response(200, {"drivers": [_picked(request, _view(request, name, detail=detail)) for name in names]})


async def _show(request: Request) -> Response:
    need(request, "baremetal:driver:get")
    return json_response(200, _picked(request, _view(request, _known(request.params["name"]), detail=True)))


async def _properties(request: Request) -> Response:
    need(request, "baremetal:driver:get_properties")
    return json_response(200, PROPERTIES[_known(request.params["name"])])


async def _raid(request: Request) -> Response:
    require(request, 12)
    need(request, "baremetal:driver:get_raid_logical_disk_properties")
    name = _known(request.params["name"])
    if DRIVERS[name]["raid"] == ("no-raid",):
        raise NotFound(f"Driver {name} does not support raid (disabled or not implemented).")
    return json_response(200, RAID)


async def _methods(request: Request) -> Response:
    need(request, "baremetal:driver:vendor_passthru")
    _known(request.params["name"])
    return json_response(200, {})


RAID = {
    "size_gb": "Size in GiB (Integer) for the logical disk. Use 'MAX' as size_gb if this logical disk is supposed to "
    "use the rest of the space available. Required.",
    "raid_level": "RAID level for the logical disk. Valid values are 'JBOD', '0', '1', '2', '5', '6', '1+0', '5+0' "
    "and '6+0'. Required.",
    "is_root_volume": "Specifies whether this disk is a root volume. By default, this is False. Optional.",
    "volume_name": "Name of the volume to be created. If this is not specified, it will be N/A. Optional.",
    "disk_type": "The type of disk preferred. Valid values are 'hdd' and 'ssd'. Optional.",
    "controller": "Controller to use for this logical disk. Optional.",
    "number_of_physical_disks": "Number of physical disks to use for this logical disk. Optional.",
}
"""The fields of a logical disk in a RAID configuration, in words."""


def routes() -> list[Route]:
    one = V1 + "/drivers/{name}"
    return [
        Route("GET", V1 + "/drivers", _list, "driver:list", rule="baremetal:driver:get",
              query=("type", "detail", "fields")),
        Route("GET", one, _show, "driver:show", rule="baremetal:driver:get"),
        Route("GET", one + "/properties", _properties, "driver:properties", rule="baremetal:driver:get_properties"),
        Route("GET", one + "/raid/logical_disk_properties", _raid, "driver:raid",
              rule="baremetal:driver:get_raid_logical_disk_properties"),
        Route("GET", one + "/vendor_passthru/methods", _methods, "driver:methods",
              rule="baremetal:driver:vendor_passthru"),
    ]  # fmt: skip
