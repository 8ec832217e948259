"""The bodies of requests about Servers: which fields exist in which microversion."""

import re
from functools import lru_cache

from hagane.api.service import Version
from hagane.api.types import BadValue, Custom, Enum, Ip, ListOf, Obj, Str, Type
from hagane.compute.kinds import (
    ANY,
    BOOLEAN,
    DESCRIPTION,
    DISK_CONFIG,
    FLAVOR_REF,
    FQDN,
    HOSTNAME,
    IMAGE_REF,
    METADATA,
    NAME,
    NAME_OR_NONE,
    PASSWORD,
    POSITIVE,
    TAG,
    TAGS,
    USER_DATA,
    USER_DATA_OR_NONE,
    UUID,
    OneOf,
    ip_or_empty,
)  # fmt: skip

_V4 = Custom(rule=ip_or_empty(4), kind="text", json_schema={"type": "string", "format": "ipv4"})
_V6 = Custom(rule=ip_or_empty(6), kind="text", json_schema={"type": "string", "format": "ipv6"})
_FILE = Obj(fields={"path": Str(None), "contents": Custom(rule=lambda f, v: USER_DATA.check(f, v), kind="text")},
            required=("path", "contents"))  # fmt: skip
_HINTS = Obj(
    fields={
        "group": OneOf(types=(UUID, ListOf(item=UUID))),
        "different_host": OneOf(types=(UUID, ListOf(item=UUID))),
        "same_host": OneOf(types=(Str(None), ListOf(item=UUID))),
    },
    open=True,
)


def _index(field: str, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadValue(field, value, f"{value!r} is not of type 'integer', 'string', 'null'")
    if isinstance(value, str) and not re.fullmatch("-?[0-9]{1,9}", value):
        raise BadValue(field, value, f"{value!r} does not match '^-?[0-9]+$'")
    return int(value)


_INDEX = Custom(rule=_index, nullable=True, json_schema={"type": ["integer", "string", "null"]})
_DISK = {
    "virtual_name": Str(), "volume_id": UUID, "snapshot_id": UUID, "volume_size": POSITIVE,
    "device_name": Str(min=1, pattern=r"^[a-zA-Z0-9._/-]*\Z"),
    "delete_on_termination": BOOLEAN, "no_device": ANY, "connection_info": Str(None),
}  # fmt: skip
_DISK_V2 = _DISK | {
    "source_type": Enum(values=("volume", "image", "snapshot", "blank")),
    "uuid": Str(255, min=1, pattern=r"^[a-zA-Z0-9._-]*\Z"), "image_id": UUID,
    "destination_type": Enum(values=("local", "volume")), "guest_format": Str(), "device_type": Str(),
    "disk_bus": Str(), "boot_index": _INDEX,
}  # fmt: skip


def _network(version: Version) -> Obj:
    fields: dict[str, Type] = {
        "fixed_ip": Ip(),
        "uuid": UUID if version >= (2, 37) else Str(None),
    }
    fields["port"] = Custom(
        rule=lambda f, v: UUID.check(f, v), kind="text", nullable=True, json_schema={"format": "uuid"}
    )
    if (2, 32) <= version < (2, 37) or version >= (2, 42):
        fields["tag"] = TAG
    return Obj(fields=fields)


def _networks(version: Version) -> Type:
    listed = ListOf(item=_network(version))
    if version < (2, 37):
        return listed

    def rule(field: str, value: object) -> object:
        if isinstance(value, str):
            return Enum(values=("none", "auto")).check(field, value)
        return listed.check(field, value)

    return Custom(rule=rule, json_schema={"oneOf": [listed.schema(), {"enum": ["none", "auto"]}]})


def _hostname(version: Version) -> Str:
    return FQDN if version >= (2, 94) else HOSTNAME


@lru_cache(128)
def create_type(version: Version) -> Obj:
    """POST /servers, the whole body."""
    disk = dict(_DISK_V2)
    if version == (2, 32) or version >= (2, 42):
        disk["tag"] = TAG
    if version >= (2, 67):
        disk["volume_type"] = Str(nullable=True)
    fields: dict[str, Type] = {
        "name": NAME, "imageRef": IMAGE_REF, "flavorRef": FLAVOR_REF, "adminPass": PASSWORD, "metadata": METADATA,
        "networks": _networks(version), "OS-DCF:diskConfig": DISK_CONFIG, "accessIPv4": _V4, "accessIPv6": _V6,
        "availability_zone": NAME, "block_device_mapping": ListOf(item=Obj(fields=_DISK)),
        "block_device_mapping_v2": ListOf(item=Obj(fields=disk)), "config_drive": BOOLEAN, "key_name": NAME,
        "min_count": POSITIVE, "max_count": POSITIVE, "return_reservation_id": BOOLEAN,
        "security_groups": ListOf(item=Obj(fields={"name": NAME})), "user_data": USER_DATA,
    }  # fmt: skip
    later: list[tuple[int, str, Type]] = [
        (19, "description", DESCRIPTION), (52, "tags", TAGS),
        (63, "trusted_image_certificates", ListOf(item=Str(255, min=1), min=1, max=50, unique=True, nullable=True)),
        (74, "host", FQDN), (74, "hypervisor_hostname", FQDN), (90, "hostname", _hostname(version)),
    ]  # fmt: skip
    fields |= {name: kind for since, name, kind in later if version >= (2, since)}
    if version < (2, 57):
        fields["personality"] = ListOf(item=_FILE)
    required = ["name", "flavorRef"] + (["networks"] if version >= (2, 37) else [])
    server = Obj(fields=fields, required=required)
    return Obj(
        fields={"server": server, "os:scheduler_hints": _HINTS, "OS-SCH-HNT:scheduler_hints": _HINTS},
        required=["server"],
    )


@lru_cache(128)
def update_type(version: Version) -> Obj:
    """PUT /servers/{id}, the whole body."""
    fields: dict[str, Type] = {
        "name": NAME, "OS-DCF:diskConfig": DISK_CONFIG, "accessIPv4": _V4, "accessIPv6": _V6,
    }  # fmt: skip
    if version >= (2, 19):
        fields["description"] = DESCRIPTION
    if version >= (2, 90):
        fields["hostname"] = _hostname(version)
    if version >= (2, 104):
        fields["pinned_availability_zone"] = NAME_OR_NONE
    return Obj(fields={"server": Obj(fields=fields)}, required=["server"])


@lru_cache(128)
def rebuild_type(version: Version) -> Obj:
    """The value of the action "rebuild"."""
    fields: dict[str, Type] = {
        "name": NAME, "imageRef": UUID, "adminPass": PASSWORD, "metadata": METADATA, "preserve_ephemeral": BOOLEAN,
        "OS-DCF:diskConfig": DISK_CONFIG, "accessIPv4": _V4, "accessIPv6": _V6,
    }  # fmt: skip
    later: list[tuple[int, str, Type]] = [
        (19, "description", DESCRIPTION), (54, "key_name", NAME_OR_NONE), (57, "user_data", USER_DATA_OR_NONE),
        (63, "trusted_image_certificates", ListOf(item=Str(255, min=1), nullable=True)),
        (90, "hostname", _hostname(version)),
    ]  # fmt: skip
    fields |= {name: kind for since, name, kind in later if version >= (2, since)}
    if version < (2, 57):
        fields["personality"] = ListOf(item=_FILE)
    return Obj(fields=fields, required=["imageRef"])
