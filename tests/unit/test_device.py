"""Block devices: names, and what the three ways of writing them down mean."""

import json
from typing import Any

import pytest

from hagane.compute import device, device_wish, diagnostics
from hagane.compute.device import entry
from hagane.errors import Invalid
from hagane.volume import volume_create


def row(*devices: device.Entry, **flavor: int) -> dict[str, Any]:
    return {"devices": list(devices), "flavor": {"disk": 1, "ephemeral": 0, "swap": 0} | flavor}


ROOT = entry(destination="volume", volume_id="r", boot_index=0, device="/dev/vda")
DATA = entry(destination="volume", volume_id="d", device="/dev/vdc")
LOCAL = entry(destination="local", source="blank", size=2, device="/dev/vdb")
SWAP = entry(destination="local", source="blank", size=64, format="swap", device="/dev/vde")


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (row(), "/dev/vdb"),
        (row(DATA), "/dev/vdb"),
        (row(ROOT, DATA), "/dev/vdb"),
        (row(ephemeral=1), "/dev/vdc"),
        (row(ephemeral=1, swap=1), "/dev/vdd"),
        (row(LOCAL, DATA, ephemeral=2, swap=1), "/dev/vdd"),
        (row(*(entry(destination="volume", volume_id=c, device=f"/dev/vd{c}") for c in device.LETTERS)), None),
    ],
)
def test_the_next_name(server: dict[str, Any], name: str | None) -> None:
    assert device.next_name(server, "virtio") == name


@pytest.mark.parametrize(
    ("name", "letter"), [("/dev/vdb", "b"), ("vda", "a"), ("/dev/xvdaa", "aa"), ("/dev/sdc1", "c"), ("hdd", "d")]
)
def test_letters(name: str, letter: str) -> None:
    assert device.letter(name) == letter


def test_disks_of_the_host() -> None:
    """What was asked for goes before what the flavor has; the root of a volume-backed Server takes no room."""
    assert device.ephemerals(row(ephemeral=5)) == {"-ephemeral": 5}
    assert device.ephemerals(row(LOCAL, LOCAL | {"size": 1}, ephemeral=5)) == {"-ephemeral": 2, "-ephemeral1": 1}
    assert (device.swap(row(swap=9)), device.swap(row(SWAP, swap=128))) == (9, 64)
    assert (device.on_host(row())["disk"], device.on_host(row(ROOT))["disk"]) == (1, 0)
    assert (device.root_name(row()), device.root_name(row(ROOT | {"device": "/dev/sda"}))) == ("/dev/vda", "/dev/sda")


_SERVER = {"power_state": 4, "node_id": None, "vm_state": "stopped", "config_drive": False}


def test_disks_that_administrators_are_told() -> None:
    """Volumes, too, but for one that is on its way out; the root is one disk wherever it is."""
    assert diagnostics._disks(row(DATA, DATA | {"gone": True}, ephemeral=1, swap=1)) == 4
    assert diagnostics._disks(row(ROOT, DATA)) == 2
    shown = diagnostics._view(_SERVER | row(DATA, vcpus=1, ram=64), [], {})
    assert (shown["num_disks"], len(shown["disk_details"])) == (2, 2)


def kinds(wishes: list[device_wish.Wish]) -> list[tuple[Any, ...]]:
    return [(one["source_type"], one["destination_type"], one["boot_index"]) for one in wishes]


def test_the_older_form() -> None:
    given = [{"device_name": "vda", "volume_id": "v"}, {"device_name": "vdb", "snapshot_id": "s", "volume_size": "3"},
             {"device_name": "vdc", "virtual_name": "ephemeral0"}, {"device_name": "vdd", "no_device": True}]  # fmt: skip
    found = device_wish.joined(None, given, None, {})
    assert kinds(found) == [("volume", "volume", 0), ("snapshot", "volume", -1), ("blank", "local", -1),
                            (None, None, None)]  # fmt: skip
    assert found[1]["volume_size"] == 3
    assert kinds(device_wish.joined(None, given[1:2], "i", {})) == [("image", "local", 0), ("snapshot", "volume", -1)]
    assert kinds(device_wish.joined(None, [], "i", {})) == [("image", "local", 0)]
    with pytest.raises(Invalid):
        device_wish.older([{"device_name": "vda"}], None)


def test_devices_of_an_image() -> None:
    """They boot instead of the image itself; what the order names takes a device's place."""
    mapping = [{"source_type": "snapshot", "destination_type": "volume", "snapshot_id": "s", "boot_index": 0,
                "device_name": "/dev/vda", "volume_size": 1},
               {"source_type": "snapshot", "destination_type": "volume", "snapshot_id": "t", "device_name": "/dev/vdb"}]  # fmt: skip
    image = {"block_device_mapping": json.dumps(mapping), "bdm_v2": "True"}
    root = {"source_type": "image", "uuid": "i", "destination_type": "local", "boot_index": 0}
    assert kinds(device_wish.joined(None, [], "i", image)) == [("snapshot", "volume", 0), ("snapshot", "volume", None)]
    asked = device_wish.newer([root, {"source_type": "volume", "uuid": "v", "device_name": "vdb"}], with_image=True)
    assert kinds(device_wish.joined(asked, [], "i", image)) == [("volume", "volume", None), ("snapshot", "volume", 0)]
    for unreadable in ("{", "[1]", "7", '{"a": 1}'):
        assert device_wish.of_properties({"block_device_mapping": unreadable}) == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"volume_size": -1000}, "Invalid volume_size."),
        ({"volume_size": "x"}, "Invalid volume_size."),
        ({"volume_size": {}}, "Invalid volume_size."),
        ({"volume_size": 1 << 40}, "Invalid volume_size."),
        ({"boot_index": "first"}, "Boot index is invalid."),
        ({"device_name": 5}, "Some fields are invalid."),
        ({"snapshot_id": {}}, "Some fields are invalid."),
        ({"volume_type": []}, "Some fields are invalid."),
        ({"virtual_name": 5}, "Some fields are invalid."),
        ({"source_type": "tape"}, "Some fields are invalid."),
    ],
)
@pytest.mark.parametrize("newer", ["True", "False"])
def test_an_image_is_checked_as_a_body_is(given: dict[str, Any], why: str, newer: str) -> None:
    mapping = [{"source_type": "snapshot", "destination_type": "volume", "snapshot_id": "s"} | given]
    with pytest.raises(Invalid, match=f"Block Device Mapping is Invalid: {why}"):
        device_wish.of_properties({"block_device_mapping": json.dumps(mapping), "bdm_v2": newer})


def test_a_volume_has_a_size() -> None:
    with pytest.raises(Invalid, match="greater than 0"):
        volume_create._size(-1000, volume_create.Source())
