"""Block devices as they are asked for: three ways of writing them down, made into one.

    block_device_mapping_v2 ─┐
    block_device_mapping    ─┼─▶ wishes: dicts with the names of the newer form     (pure functions, no look-ups)
    an image's own mapping  ─┘

A volume-backed Server's image has no bytes, but a mapping to snapshots of the volumes.

https://docs.openstack.org/nova/latest/user/block-device-mapping.html
"""

import json
from collections.abc import Sequence
from typing import Any

from hagane.compute.device import letter
from hagane.errors import Invalid

Wish = dict[str, Any]
ROOT = "vda"
_FIELDS = (
    "source_type", "destination_type", "guest_format", "device_type", "disk_bus", "boot_index", "device_name",
    "delete_on_termination", "snapshot_id", "volume_id", "volume_size", "image_id", "no_device", "tag", "volume_type",
)  # fmt: skip
_CARRIED = ("device_name", "delete_on_termination", "snapshot_id", "volume_id", "volume_size", "no_device")
_NUMBERS = {"volume_size": "Invalid volume_size.", "boot_index": "Boot index is invalid."}
_FREE = ("delete_on_termination", "no_device")  # true or not, whatever they are
_LARGEST = 1 << 31
_BEHIND = {"volume": "volume", "snapshot": "volume", "image": "local", "blank": "local"}  # where no place is said


def bad(details: str) -> Invalid:
    return Invalid(f"Block Device Mapping is Invalid: {details}", code="InvalidBDMFormat")


def wish(**values: Any) -> Wish:
    """One device with every field, its numbers as numbers."""
    made: Wish = dict.fromkeys(_FIELDS) | {"delete_on_termination": False} | values
    for name in _NUMBERS:
        if made[name] is not None:
            made[name] = int(made[name])
    if made["device_name"]:
        made["device_name"] = "/dev/" + made["device_name"].removeprefix("/dev/")
    if not made["no_device"] and made["destination_type"] is None:
        made["destination_type"] = _BEHIND.get(made["source_type"])
    return made


def of_image(image_id: str) -> Wish:
    """The image on a disk of the Server's own: what `imageRef` alone means."""
    return wish(source_type="image", image_id=image_id, delete_on_termination=True, boot_index=0, device_type="disk",
                destination_type="local")  # fmt: skip


def newer(given: Sequence[Wish], *, with_image: bool) -> list[Wish]:
    """block_device_mapping_v2. Raises Invalid."""
    found = []
    for one in given:
        one = dict(one)
        if not one.get("no_device"):
            _check(one, with_image=with_image)
        key = one.pop("uuid", None)
        if key and not one.get("no_device"):
            one[f"{one['source_type']}_id"] = key
        one.pop("virtual_name", None)
        one.pop("connection_info", None)
        found.append(wish(**one))
    return found


def _check(one: Wish, *, with_image: bool) -> None:
    source, place, kind = one.get("source_type"), one.get("destination_type"), one.get("volume_type")
    if source == "blank" and one.get("uuid"):
        raise bad("Invalid device UUID.")
    if source != "blank" and not one.get("uuid"):
        raise bad("Missing device UUID.")
    if source is None:
        raise bad("Some required fields are missing")
    if source == "image" and place == "local":
        index = one.get("boot_index", -1)
        if not (with_image and index is not None and int(index) == 0):
            raise bad("Mapping image to local is not supported.")
    if place == "local" and kind:
        raise bad("Specifying a volume_type with destination_type=local is not supported.")
    if source == "volume" and kind:
        raise bad("Specifying volume type to existing volume is not supported.")


def older(given: Sequence[Wish], image_id: str | None, *, rooted: bool = False) -> list[Wish]:
    """block_device_mapping; `rooted`: what boots is known already. The device called vda boots, else the image."""
    found = [_older(one) for one in given]
    backed = False
    for one in found:
        boots = one["source_type"] in ("volume", "snapshot", "image") and one["device_name"] == f"/dev/{ROOT}"
        one["boot_index"] = None if one["no_device"] else -1
        if boots and not rooted:
            one["boot_index"], backed = 0, True
    return ([of_image(image_id)] if image_id and not backed and not rooted else []) + found


def _older(given: Wish) -> Wish:
    kept = {name: given[name] for name in _CARRIED if name in given}
    virtual = given.get("virtual_name") or ""
    if virtual == "swap" or (virtual.startswith("ephemeral") and virtual.removeprefix("ephemeral").isdigit()):
        form = "swap" if virtual == "swap" else None
        kept |= {"source_type": "blank", "destination_type": "local", "delete_on_termination": True,
                 "guest_format": form}  # fmt: skip
    elif given.get("snapshot_id"):
        kept |= {"source_type": "snapshot", "destination_type": "volume"}
    elif given.get("volume_id"):
        kept |= {"source_type": "volume", "destination_type": "volume"}
    elif not given.get("no_device"):
        raise bad("Unrecognized legacy format.")
    return wish(**kept)


def of_properties(properties: dict[str, str]) -> list[Wish]:
    """The devices that an image brings. One whose mapping cannot be read brings none. Any member may write one,
    so it is checked as a body is. Raises Invalid."""
    try:
        given = json.loads(properties.get("block_device_mapping") or "[]")
        listed = [{name: value for name, value in one.items() if name in (*_FIELDS, "virtual_name")} for one in given]
    except (ValueError, TypeError, AttributeError):
        return []
    for one in listed:
        _check_brought(one)
    if properties.get("bdm_v2", "").lower() in ("true", "1", "yes"):
        return [wish(**{name: value for name, value in one.items() if name != "virtual_name"}) for one in listed]
    return older(listed, None)


def _check_brought(one: Wish) -> None:
    """What a body's schema has refused already. Raises Invalid."""
    for name, value in one.items():
        if name in _NUMBERS:
            least = 0 if name == "volume_size" else -_LARGEST
            if value is not None and not least <= _number(value, _NUMBERS[name]) < _LARGEST:
                raise bad(_NUMBERS[name])
        elif name not in _FREE and not isinstance(value, str | None):
            raise bad("Some fields are invalid.")
    if one.get("source_type") not in (None, *_BEHIND) or one.get("destination_type") not in (None, "local", "volume"):
        raise bad("Some fields are invalid.")


def _number(value: Any, why: str) -> int:
    """A number, or the digits of one. Raises Invalid."""
    if isinstance(value, str) and len(value) <= 10 and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise bad(why)


def boots(wishes: Sequence[Wish]) -> Wish | None:
    """The one that is booted."""
    return next((one for one in wishes if one["boot_index"] == 0), None)


def joined(given: Sequence[Wish] | None, legacy: Sequence[Wish], image_id: str | None, properties: dict[str, str]
) -> list[Wish]:  # fmt: skip
    """All devices of an order: those of its body (`given`: the newer form, if it is used) and of its image."""
    brought = of_properties(properties)
    rooted = boots(brought) is not None
    if given is None:
        asked = older(legacy, image_id, rooted=rooted)
    else:
        asked = [one for one in given if not (rooted and one["boot_index"] == 0 and one["source_type"] == "image")]
    named = {one["device_name"] for one in asked if one["device_name"]}
    return asked + [one for one in brought if one["device_name"] not in named]


def of_root_name(one: Wish) -> bool:
    """Whether an older mapping says of a device that it is the root."""
    return bool(one.get("device_name")) and letter(one["device_name"]) == "a"
