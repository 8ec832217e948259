"""Boot plans against golden files, and a CD against what firmware looks for on it."""

import io
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot import DRIVERS, iso
from hagane.drivers.boot.base import BootNode, BootPlan
from hagane.drivers.boot.iso import IsoParts
from hagane.errors import Invalid
from hagane.reconcile import provision_boot

GOLDEN = Path(__file__).parent.parent / "golden" / "boot"
PARAMETERS = "ipa-api-url=http://172.30.16.2/baremetal console=ttyS0,115200"
PAIRS = [(name, mode) for name, driver in DRIVERS.items() for mode in sorted(driver.modes)]


def shown(plan: BootPlan) -> str:
    lines = [f"device {plan.device}", *(f"dhcp {name} = {value}" for name, value in plan.dhcp.items())]
    lines += [f"http {plan.http_uri}"] if plan.http_uri else []
    lines += [f"media {slot} = {url}" for slot, url in plan.media.items()]
    for path, text in plan.files.items():
        lines += [f"--- {path}", text.rstrip("\n")]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("name", "mode"), PAIRS)
def test_plans(name: str, mode: BootMode) -> None:
    media = "http://172.30.1.1:8775/x.iso" if name == "redfish-virtual-media" else ""
    plan = DRIVERS[name].plan(BootNode(mode, "http://172.30.16.2", PARAMETERS, media))
    assert shown(plan) == (GOLDEN / f"{name}-{mode}.txt").read_text()


def node(**more: Any) -> dict[str, Any]:
    return {"id": "n1", "boot_interface": "ipxe", "boot_mode": None, "properties": {}, "driver_info": {}} | more


@pytest.mark.parametrize(
    ("row", "mode"),
    [
        (node(), "uefi"),
        (node(boot_mode="bios"), "bios"),
        (node(boot_mode="bios", properties={"boot_mode": "UEFI"}), "uefi"),
        (node(boot_mode="bios", properties={"capabilities": "cpu_vt:true,boot_mode:uefi"}), "uefi"),
    ],
)
def test_boot_modes(row: dict[str, Any], mode: str) -> None:
    assert provision_boot.mode(row) == mode


def test_kernel_parameters() -> None:
    own = node(driver_info={"kernel_append_params": "%default% debug"})
    base = "http://10.0.0.2"
    text = provision_boot.parameters(own, base, "cleaning", "nofb  console=ttyS0")
    assert text == "ipa-api-url=http://10.0.0.2/baremetal nofb console=ttyS0 debug"
    alone = node(driver_info={"kernel_append_params": "debug"})
    assert provision_boot.parameters(alone, base, "cleaning", "nofb", "no_timer_check").endswith(
        " debug no_timer_check"
    )
    text = provision_boot.parameters(node(), base, "inspection", "quiet")
    assert text.endswith(
        f"ipa-inspection-callback-url={base}/baremetal/v1/continue_inspection ipa-collect-lldp=1 quiet"
    )


@pytest.mark.parametrize("words", ["${uuid}", "x || shell", "'", "a;b", "a\\b"])
def test_parameters_that_a_boot_loader_would_act_upon(words: str) -> None:
    with pytest.raises(Invalid, match="act upon"):
        provision_boot.parameters(node(driver_info={"kernel_append_params": words}), "http://x", "cleaning", "")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (node(boot_interface="http", boot_mode="bios"), "uefi mode only"),
        (node(boot_interface="fake"), "boots no ramdisk"),
        (node(boot_mode="legacy"), "there are bios and uefi"),
    ],
)
def test_what_does_not_go_together(row: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        provision_boot.plan(row, base="http://x", role="provisioning")


def test_a_cd(tmp_path: Path) -> None:
    kernel, ramdisk = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_bytes(b"K" * 3000)
    ramdisk.write_bytes(b"R" * 5000)
    parts = IsoParts(kernel, ramdisk, PARAMETERS)
    made = iso.build(parts, tmp_path / "cds")
    before = made.stat().st_mtime_ns
    assert iso.build(parts, tmp_path / "cds") == made
    assert made.stat().st_mtime_ns == before
    assert iso.build(IsoParts(kernel, ramdisk, "other"), tmp_path / "cds") != made
    assert len(list((tmp_path / "cds").iterdir())) == 2
    disc = pycdlib.PyCdlib()
    disc.open(str(made))
    found = {}
    for path in ("/kernel", "/ramdisk", "/boot/grub/grub.cfg", "/isolinux/isolinux.cfg", "/.disk/info"):
        out = io.BytesIO()
        disc.get_file_from_iso_fp(out, rr_path=path)
        found[path] = out.getvalue()
    assert disc.eltorito_boot_catalog is not None
    platforms = [section.platform_id for section in disc.eltorito_boot_catalog.sections]
    disc.close()
    assert (found["/kernel"], found["/ramdisk"]) == (kernel.read_bytes(), ramdisk.read_bytes())
    assert b"'ipa-api-url=http://172.30.16.2/baremetal' 'console=ttyS0,115200'" in found["/boot/grub/grub.cfg"]
    assert f"APPEND {PARAMETERS}\n".encode() in found["/isolinux/isolinux.cfg"]
    assert platforms == [0xEF]  # UEFI, besides the first entry, which is BIOS's
