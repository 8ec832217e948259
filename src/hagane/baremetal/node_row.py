"""What a Node is: its attributes, each with the microversion that brought it, and its table."""

from hagane.api.resource import REQUIRED, Attr
from hagane.api.types import Bool, Int, ListOf, Obj, Str, Time, Type, Uuid
from hagane.state.table import Column, Table

TEXT = Str(nullable=True)
LONG = Str(None, nullable=True)
BOOL = Bool(nullable=True, loose=True)
FREE = Obj(open=True, nullable=True)
ID = Uuid(nullable=True)

INTERFACES = {
    "bios": "1.40", "boot": "1.31", "console": "1.31", "deploy": "1.31", "firmware": "1.86", "inspect": "1.31",
    "management": "1.31", "network": "1.20", "power": "1.31", "raid": "1.31", "rescue": "1.38", "storage": "1.33",
    "vendor": "1.31",
}  # fmt: skip
"""Each interface of a driver -> since when a Node tells which one it uses."""

UNPLUGGED = ("noop", "flat")
"""Network interfaces of Nodes whose Nics hang where somebody else put them, and stay there."""

PATCHABLE = (
    "automated_clean", "bios_interface", "boot_interface", "chassis_uuid", "conductor_group", "console_interface",
    "deploy_interface", "description", "disable_power_off", "driver", "driver_info", "extra", "inspect_interface",
    "instance_info", "instance_name", "instance_uuid", "lessee", "maintenance", "management_interface", "name",
    "network_data", "network_interface", "owner", "power_interface", "properties", "protected", "protected_reason",
    "raid_interface", "rescue_interface", "resource_class", "retired", "retired_reason", "shard", "storage_interface",
    "vendor_interface", "parent_node", "firmware_interface",
)  # fmt: skip


def _seen(name: str, type_: Type, since: str = "", default: object = None) -> Attr:
    """An attribute that only the cloud writes."""
    return Attr(name, type_, "", default, since=since)


ATTRS: tuple[Attr, ...] = (
    Attr("id", ID, "c", wire="uuid", key=True),
    _seen("created_at", Time(nullable=True)),
    _seen("updated_at", Time(nullable=True)),
    Attr("automated_clean", BOOL, "cu", since="1.47"),
    *(Attr(f"{name}_interface", TEXT, "cu", since=since) for name, since in INTERFACES.items()),
    Attr("boot_mode", TEXT, "c", since="1.75"),
    Attr("chassis_id", ID, "cu", wire="chassis_uuid"),
    _seen("clean_step", FREE, "1.7", dict),
    Attr("conductor_group", TEXT, "cu", str, since="1.46"),
    Attr("console_enabled", BOOL, "c", bool),
    _seen("deploy_step", FREE, "1.44", dict),
    Attr("description", Str(4096, nullable=True), "cu", since="1.51"),
    Attr("disable_power_off", BOOL, "cu", bool, since="1.95"),
    Attr("driver", Str(), "cu", REQUIRED),
    Attr("driver_info", FREE, "cu", dict),
    _seen("driver_internal_info", FREE, "1.3", dict),
    Attr("extra", FREE, "cu", dict),
    _seen("fault", TEXT, "1.42"),
    _seen("health", TEXT, "1.109"),
    _seen("inspection_finished_at", Time(nullable=True), "1.6"),
    _seen("inspection_started_at", Time(nullable=True), "1.6"),
    Attr("instance_info", FREE, "cu", dict),
    Attr("instance_name", Str(255, min=1, nullable=True), "cu", since="1.104"),
    Attr("instance_id", ID, "cu", wire="instance_uuid"),
    _seen("last_error", LONG),
    Attr("lessee", TEXT, "cu", since="1.65"),
    Attr("maintenance", BOOL, "cu", bool),
    _seen("maintenance_reason", LONG),
    Attr("name", TEXT, "cu", since="1.5"),
    Attr("network_data", FREE, "cu", dict, since="1.66"),
    Attr("owner", TEXT, "cu", since="1.50"),
    Attr("parent_node", Str(36, nullable=True), "cu", since="1.83"),
    _seen("power_state", TEXT),
    Attr("properties", FREE, "cu", dict),
    Attr("protected", BOOL, "u", bool, since="1.48"),
    Attr("protected_reason", LONG, "u", since="1.48"),
    _seen("provision_state", TEXT),
    _seen("provision_updated_at", Time(nullable=True)),
    _seen("raid_config", FREE, "1.12", dict),
    Attr("resource_class", Str(80, nullable=True), "cu", since="1.21"),
    Attr("retired", BOOL, "cu", bool, since="1.61"),
    Attr("retired_reason", LONG, "cu", since="1.61"),
    Attr("secure_boot", BOOL, "c", since="1.75"),
    _seen("service_step", FREE, "1.87", dict),
    Attr("shard", TEXT, "cu", since="1.82"),
    _seen("target_power_state", TEXT),
    _seen("target_provision_state", TEXT),
    _seen("target_raid_config", FREE, "1.12", dict),
    _seen("traits", ListOf(Str()), "1.37", list),
    Attr("allocation_id", ID, wire="allocation_uuid", since="1.52"),
    # What the API does not show: intent, what was seen, and secrets under encryption.
    Attr("secrets", LONG, default=str, shown=False),
    Attr("wanted", FREE, default=dict, shown=False),
    Attr("seen", FREE, default=dict, shown=False),
    Attr("generation", Int(), shown=False),
    Attr("observed_generation", Int(), default=int, shown=False),
)

INDEXES = ("unique name", "unique instance_id", "created_at, id", "owner", "lessee", "provision_state",
           "resource_class",
           "chassis_id", "shard", "parent_node")  # fmt: skip

HISTORY = Table(
    "node_history",
    (
        Column("id", key=True),
        Column("node_id"),
        Column("created_at"),
        Column("severity"),
        Column("event_type"),
        Column("event"),
        Column("user_id"),
        Column("project_id"),
        Column("state"),
        Column("target"),
        Column("duration", "real"),
    ),
    ("node_id, created_at",),
)
"""What happened to a Node, in words; severity is INFO or ERROR."""

INVENTORY = Table(
    "node_inventory", (Column("node_id", key=True), Column("inventory", "json"), Column("plugin_data", "json"))
)
"""What an inspection found."""
