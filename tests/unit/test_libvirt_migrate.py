"""A machine that runs, as the Host has it to which it goes: the same for the guest, its disks where they are there."""

import asyncio
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from hagane.drivers.hypervisor import libvirt, libvirt_domain, libvirt_migrate
from hagane.drivers.hypervisor.base import Disk, Machine, Power, Source
from hagane.drivers.hypervisor.libvirt import Libvirt
from hagane.drivers.hypervisor.libvirt_migrate import arriving_xml
from hagane.drivers.hypervisor.libvirt_xml import Style
from hagane.errors import DeviceFailed, Unavailable

HERE = Style(disk_dir="/here/disk", log_dir="/here/console", bridge="br-int")
THERE = Style(disk_dir="/there/disk", log_dir="/there/console", bridge="br-there")
XML = """
<domain type='qemu'>
  <metadata><m:moved xmlns:m='urn:hagane:moved:1'>
    <m:disk alias='ua-volume-old' source='iscsi:iqn.x:two/1' key='volume-two'/>
  </m:moved></metadata>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/here/disk/hagane-s.s-1.qcow2'/>
      <backingStore type='file'><source file='/here/disk/hagane-image.i.0'/></backingStore>
      <target dev='vda' bus='virtio'/><address type='pci' slot='0x03'/></disk>
    <disk type='network' device='disk'><driver name='qemu' type='raw'/>
      <source protocol='iscsi' name='iqn.x:two/1'><host name='10.0.0.1' port='3260'/><auth username='old'/></source>
      <target dev='vdb' bus='virtio'/><alias name='ua-volume-old'/><address type='pci' slot='0x04'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/pool/volume.three.0123abcd'/>
      <target dev='vdc' bus='virtio'/><alias name='ua-volume-three'/></disk>
    <interface type='bridge'><source bridge='br-int'/></interface>
    <serial type='pty'><log file='/here/console/hagane-s.log' append='on'/></serial>
  </devices>
</domain>
"""
CHAP = {"target_iqn": "iqn.x:two", "target_portal": "10.0.0.9:3260", "target_lun": 1, "auth_method": "CHAP",
        "auth_username": "new", "auth_password": "secret"}  # fmt: skip
MACHINE = Machine("s", "s", 1, 64, Power.ON, disks=(
    Disk("s-1", 1, "i"),
    Disk("volume-two", 1, source=Source("iscsi", CHAP)),
    Disk("volume-three", 1, source=Source("local", {"device_path": "/pool/volume.three", "format": "qcow2"})),
))  # fmt: skip


def found(node: ET.Element, path: str) -> ET.Element:
    one = node.find(path)
    assert one is not None
    return one


def test_it_is_the_same_for_the_guest_and_elsewhere_for_the_host() -> None:
    root = ET.fromstring(arriving_xml(XML, MACHINE, HERE, THERE))
    disk, volume, file = root.findall("devices/disk")
    assert [found(one, "target").get("dev") for one in (disk, volume, file)] == ["vda", "vdb", "vdc"]
    assert [one.get("slot") for one in root.iter("address")] == ["0x03", "0x04"]
    assert found(disk, "source").attrib == {"file": "/there/disk/hagane-s.s-1.qcow2"}
    assert root.find(".//backingStore") is None
    assert found(volume, "source/host").get("name") == "10.0.0.9"
    assert [one.get("username") for one in volume.iter("auth")] == ["new"]
    assert [one.get("name") for one in volume.findall("alias")] == ["ua-volume-two"]
    assert "secret" not in "".join(one.get("password", "") for one in root.iter())
    assert found(file, "source").attrib == {"file": "/pool/volume.three.0123abcd"}
    assert not list(found(root, "metadata"))
    assert found(root, "devices/interface/source").get("bridge") == "br-there"
    assert found(root, "devices/serial/log").get("file") == "/there/console/hagane-s.log"


@pytest.mark.parametrize(
    "target, why",
    [
        ({"address": "10.0.0.2", "userspace_datapath": True}, "a Host of another kind"),
        ({}, "no address where it hears other Hosts"),
    ],
)
async def test_where_it_cannot_go(target: dict[str, Any], why: str) -> None:
    uri = "qemu+unix:///system?socket=/nowhere"
    source = Libvirt(uri, name="a", address="10.0.0.1")
    with pytest.raises(DeviceFailed, match=why):
        await source.migrate(MACHINE, Libvirt(uri, name="b", **target), lambda step, percent: None)


class Endless:
    """A Host from which a machine never arrives; it can be told to stop when it has begun."""

    def __init__(self) -> None:
        self.host, self.aborts, self.limits, self.stopped = "a", 0, [], asyncio.Event()  # type: ignore[var-annotated]

    async def run(self, function: Any, *args: Any, bulk: bool = False, seconds: float | None = 1.0) -> Any:
        if function is libvirt_migrate.pack:
            return libvirt_migrate.Luggage("", {}, {}, b"")
        if function is libvirt_migrate.go:
            self.limits.append(seconds)
            await self.stopped.wait()
            raise Unavailable("it was broken off")
        if function is libvirt_domain.abort_copy:
            self.aborts += 1
            if self.aborts == 2:
                self.stopped.set()
        return None


async def test_one_that_takes_too_long_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody waits for it any more: a call that is left alone would lock its Host."""
    monkeypatch.setattr(libvirt, "COPY_SECONDS", 0.0)
    uri = "qemu+unix:///system?socket=/nowhere"
    source, target = Libvirt(uri, name="a"), Libvirt(uri, name="b", address="10.0.0.2")
    link = source._link = target._link = Endless()  # type: ignore[assignment]
    with pytest.raises(Unavailable, match="did not arrive in time"):
        await source.migrate(MACHINE, target, lambda step, percent: None)
    assert (link.aborts, link.limits) == (2, [None])  # type: ignore[attr-defined]
