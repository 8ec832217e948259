"""Volumes of machines on a Host, where no QEMU is needed to see what is right."""

from typing import Any

import pytest

from hagane.drivers.hypervisor import libvirt_volume
from hagane.errors import Unavailable
from tests.unit.test_libvirt_xml import GOLDEN, ID, LIVE


class Host:
    """A libvirtd with one machine."""

    def __init__(self, *, active: bool) -> None:
        self.active, self.sizes = active, dict[str, int]()

    def lookupByUUIDString(self, _: str) -> Any:
        return self

    def isActive(self) -> bool:
        return self.active

    def XMLDesc(self, _: int) -> str:
        return (GOLDEN / "seen-live.xml").read_text()

    def blockResize(self, target: str, size: int, _: int) -> None:
        self.sizes[target] = size


def test_a_machine_that_runs_is_told_of_its_volumes_size() -> None:
    assert LIVE is not None
    disk = next(iter(LIVE.disks.values()))
    host = Host(active=True)
    libvirt_volume.resize(host, ID, disk.source, 1 << 30)
    assert host.sizes == {disk.target: 1 << 30}
    with pytest.raises(Unavailable, match="has no disk"):
        libvirt_volume.resize(host, ID, "/elsewhere", 1 << 30)


def test_one_that_is_off_need_not_be_told() -> None:
    host = Host(active=False)
    libvirt_volume.resize(host, ID, "/elsewhere", 1 << 30)
    assert not host.sizes
