"""Asking a guest for a device that it lets go of at the same moment."""

from collections.abc import Callable

import libvirt
import pytest

from hagane.drivers.hypervisor.base import Disk, Machine, MachineNic, Power
from hagane.drivers.hypervisor.libvirt_domain import ask_out
from hagane.drivers.hypervisor.libvirt_xml import Style, domain_xml

ID = "3f0c8a52-5d0e-4d0c-9a3b-0d6f6b3c1e11"
NIC, OTHER = MachineNic("port-1", "fa:16:3e:00:00:01"), MachineNic("port-2", "fa:16:3e:00:00:02")


class Domain:
    """A machine that runs, in the words of libvirt-python. `answer` is what happens when it is asked for a device."""

    def __init__(self, answer: Callable[[], None], *, goes: bool) -> None:
        self.answer, self.goes, self.nics = answer, goes, (NIC, OTHER)

    def lookupByUUIDString(self, uuid: str) -> "Domain":
        assert uuid == ID
        return self

    def isActive(self) -> bool:
        return True

    def isPersistent(self) -> bool:
        return True

    def hasManagedSaveImage(self) -> bool:
        return False

    def state(self) -> tuple[int, int]:
        return libvirt.VIR_DOMAIN_RUNNING, 0

    def XMLDesc(self, _flags: int) -> str:
        return domain_xml(Machine(ID, "one", 1, 64, Power.ON, disks=(Disk("root", 1),), nics=self.nics), Style())

    def detachDeviceAlias(self, _alias: str, _flags: int) -> None:
        if self.goes:
            self.nics = (OTHER,)
        self.answer()


def says(text: str) -> Callable[[], None]:
    def answer() -> None:
        raise libvirt.libvirtError(text)

    return answer


@pytest.mark.parametrize(
    "text", ["internal error: no device found with alias net1", "device not found: no device found", "anything else"]
)
def test_it_was_let_go_of_while_the_request_waited(text: str) -> None:
    """Another request was under way, and ended well: libvirt finds nothing to ask for, and that is no refusal."""
    assert ask_out(Domain(says(text), goes=True), ID, "port-1") is True


def test_it_is_asked_for_already() -> None:
    words = "Operation not supported: device net1 is already in the process of unplug"
    assert ask_out(Domain(says(words), goes=False), ID, "port-1") is False


def test_a_refusal_is_one() -> None:
    with pytest.raises(libvirt.libvirtError, match="will not"):
        ask_out(Domain(says("it will not"), goes=False), ID, "port-1")


@pytest.mark.parametrize(("device", "out"), [("port-1", False), ("port-9", True)])
def test_the_guest_is_asked_for_what_is_there(device: str, out: bool) -> None:
    assert ask_out(Domain(lambda: None, goes=False), ID, device) is out
