"""Booting from volumes, the pure part: what iPXE is told, who can, and by which Nic."""

from typing import Any

import pytest

from hagane.baremetal import san
from hagane.drivers.bmc.base import BootDevice, BootMode
from hagane.drivers.boot import san as boot
from hagane.drivers.boot.base import BootNode
from hagane.errors import Invalid

DATA = {"target_portal": "172.30.20.2:3260", "target_iqn": "iqn.2026-01.org.hagane:v.u", "target_lun": 1,
        "auth_username": "u", "auth_password": "secret-of-u"}  # fmt: skip
TARGET = {"id": "t1", "boot_index": 0, "volume_type": "iscsi", "volume_id": "v1"}
BASE = "http://172.30.20.2"


def connection(**more: Any) -> dict[str, Any]:
    return {"driver_volume_type": "iscsi", "data": DATA | more}


def test_the_script() -> None:
    one = boot.disk(connection(), "iqn.2026-01.org.hagane:node:n1")
    lines = boot.script(one).splitlines()
    assert lines[:5] == ["#!ipxe", "set n:int32 0", "set initiator-iqn iqn.2026-01.org.hagane:node:n1",
                         "set username u", "set password secret-of-u"]  # fmt: skip
    assert "sanboot iscsi:172.30.20.2:6:3260:1:iqn.2026-01.org.hagane:v.u ||" in lines
    assert "secret-of-u" not in repr(one)


@pytest.mark.parametrize("bad", ["a b", "a\nreboot", "${x}", "a&&b", 'a"', "a|b"])
@pytest.mark.parametrize("part", ["target_iqn", "auth_username", "auth_password", "target_portal"])
def test_nothing_gets_into_the_script(part: str, bad: str) -> None:
    with pytest.raises(Invalid, match="characters that iPXE would act upon"):
        boot.disk(connection(**{part: bad}), "iqn.x")


def test_other_ways_to_a_volume() -> None:
    with pytest.raises(Invalid, match="reaches by local"):
        boot.disk({"driver_volume_type": "local", "data": {"device_path": "/x"}}, "iqn.x")


@pytest.mark.parametrize(("interface", "mode", "device"), [
    ("ipxe", BootMode.BIOS, BootDevice.PXE), ("ipxe", BootMode.UEFI, BootDevice.PXE),
    ("http-ipxe", BootMode.UEFI, BootDevice.HTTP), ("redfish-virtual-media", BootMode.BIOS, BootDevice.CDROM),
])  # fmt: skip
def test_plans(interface: str, mode: BootMode, device: BootDevice) -> None:
    plan = boot.plan(BootNode(mode, BASE, "", "http://bmc-side/x.iso"), interface)
    assert plan.device is device and plan.dhcp["tag:ipxe,67"] == f"{BASE}/boot.ipxe" and not plan.files


def test_plans_that_there_are_not() -> None:
    for interface, mode in (("pxe", BootMode.BIOS), ("http-ipxe", BootMode.BIOS)):
        with pytest.raises(Invalid, match="cannot boot from a volume"):
            boot.plan(BootNode(mode, BASE, ""), interface)


def node(**more: Any) -> dict[str, Any]:
    return {"id": "n1", "name": "bm1", "driver": "redfish", "storage_interface": "cinder", "boot_interface": "ipxe",
            "deploy_interface": "direct", "network_interface": "neutron", "instance_info": {},
            "properties": {"capabilities": "boot_mode:uefi,iscsi_boot:True"}} | more  # fmt: skip


@pytest.mark.parametrize(("row", "targets", "words"), [
    (node(), [TARGET], ""),
    (node(), [], ""),
    (node(storage_interface="noop", properties={}), [TARGET], ""),
    (node(instance_info={"image_source": "i"}, properties={}), [TARGET], ""),  # it writes the image
    (node(properties={}), [TARGET], "no iSCSI boot support"),
    (node(properties={"capabilities": "iscsi_boot:false"}), [TARGET], "no iSCSI boot support"),
    (node(boot_interface="pxe"), [TARGET], "boot interface pxe cannot"),
    (node(network_interface="noop"), [TARGET], "network interface noop"),
    (node(deploy_interface="fake"), [TARGET], "is fake"),
    (node(), [TARGET | {"volume_type": "fibre_channel"}], "fibre_channel"),
    (node(), [TARGET, TARGET | {"id": "t2", "boot_index": 1}], "2 volume targets"),
    (node(), [TARGET | {"volume_id": ""}], "volume_id missing"),
])  # fmt: skip
def test_who_can(row: dict[str, Any], targets: list[dict[str, Any]], words: str) -> None:
    why = san.lack(row, targets)
    assert words in why and bool(why) == bool(words)


def test_which_nic() -> None:
    def nic(key: str, **more: Any) -> dict[str, Any]:
        return {"id": key, "pxe_enabled": True, "group_id": None, "link": {"port_id": "e1"}} | more

    nics = [nic("a", pxe_enabled=False), nic("b", group_id="g"), nic("c", link={}), nic("d"), nic("e")]
    assert [(san.nic(nics, taken) or {}).get("id") for taken in ((), ("d",), ("d", "e"), ("c", "d", "e"))] == [
        "d", "e", "c", None
    ]  # fmt: skip
