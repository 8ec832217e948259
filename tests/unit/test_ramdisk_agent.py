"""Parts of the ramdisk's agent: root device hints, LLDP, tables, boot entries, parameters of the kernel."""

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.deploy import params
from hagane.errors import Invalid
from hagane.lab.ramdisk.agent import efi, lldp, prepare, table
from hagane.lab.ramdisk.agent.disks import guess, matches
from hagane.lab.ramdisk.agent.errors import DeploymentError, DeviceNotFound
from hagane.lab.ramdisk.agent.place import place
from hagane.lab.ramdisk.agent.table import MB, Partition, Table

GB = 1 << 30
DISK: dict[str, Any] = {"name": "/dev/sda", "size": 100 * GB, "model": "ST1000 NM", "vendor": "Seagate", "serial": "ABC1",
                        "wwn": "0x5000c5", "rotational": True, "hctl": "0:0:0:0"}  # fmt: skip


@pytest.mark.parametrize(
    ("hints", "fits"),
    [
        ({"serial": "abc1"}, True),
        ({"serial": "s== ABC1"}, True),
        ({"serial": "s!= ABC1"}, False),
        ({"size": 100}, True),
        ({"size": ">= 50"}, True),
        ({"size": "< 50"}, False),
        ({"size": "<or> 50 <or> 100"}, True),
        ({"model": "<in> nm"}, True),
        ({"vendor": "<or> acme <or> seagate"}, True),
        ({"vendor": "<or> acme"}, False),
        ({"model": "<all-in> st1000 <all-in> nm"}, True),
        ({"rotational": "true"}, True),
        ({"rotational": False}, False),
        ({"name": "/dev/sda", "serial": "other"}, False),
        ({"tran": "nvme"}, False),
    ],
)
def test_root_device_hints(hints: dict[str, Any], fits: bool) -> None:
    assert matches(DISK, hints) is fits


def test_hints_that_are_none() -> None:
    for bad in ({"colour": "blue"}, {"size": "big"}):
        with pytest.raises(DeviceNotFound):
            matches(DISK, bad)


def test_without_hints_the_smallest_that_is_large_enough() -> None:
    found = [
        {"name": f"/dev/sd{letter}", "size": size}
        for letter, size in zip("abcd", (90 * GB, 5 * GB, GB, 5 * GB), strict=True)
    ]
    assert guess(found)["name"] == "/dev/sdb"
    assert guess([{"name": "/dev/sda", "size": GB}])["name"] == "/dev/sda"
    with pytest.raises(DeviceNotFound):
        guess([{"name": "/dev/sda", "size": 1 << 20}])


def test_lldp_stops_at_the_end_and_before_what_is_cut_off() -> None:
    assert lldp.tlvs(bytes.fromhex("020704525401000002" "040305626d" "0000" "0602ffff")) == [
        (1, "04525401000002"), (2, "05626d"),
    ]  # fmt: skip
    assert lldp.tlvs(bytes.fromhex("02070452540100000204ff05")) == [(1, "04525401000002")]
    assert lldp.tlvs(b"") == []


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_table_reads_as_it_was_written(tmp_path: Path, label: str, sector: int) -> None:
    size = 512 * MB
    kind = table.LINUX if label == "gpt" else "0x83"
    uuid = table.new_uuid() if label == "gpt" else "a1b2c3d4"
    made = Table(label, size, sector, uuid, entries=128 if label == "gpt" else 4)
    for number, start in ((1, 1), (3, 9)):
        key, name = (table.new_uuid(), "näme") if label == "gpt" else ("", "")
        made = made.add(Partition(number, start * MB, 8 * MB, kind, key, name))
    (tmp_path / "disk").touch()
    file = os.open(tmp_path / "disk", os.O_RDWR)
    os.truncate(file, size)
    assert table.read(file, size, sector) is None
    table.write(file, made)
    assert table.read(file, size, sector) == made and made.free_number() == 2
    os.close(file)
    for bad in (Partition(2, 5 * MB, 8 * MB, kind), Partition(2, 600 * MB, MB, kind), Partition(2, 0, MB, kind)):
        with pytest.raises(DeploymentError, match="No room"):
            made.add(bad)


def test_a_config_drive_takes_the_place_that_an_image_has_for_it(tmp_path: Path) -> None:
    size = 256 * MB
    made = Table("gpt", size, 512, table.new_uuid()).add(
        Partition(1, 8 * MB, MB, table.LINUX, table.new_uuid(), "config-2")
    )
    (tmp_path / "disk").touch()
    file = os.open(tmp_path / "disk", os.O_RDWR)
    os.truncate(file, size)
    assert prepare.with_drive(file, made, b"x") == (made, 8 * MB)
    with pytest.raises(DeploymentError, match="too small"):
        prepare.with_drive(file, made, bytes(2 * MB))
    os.close(file)


def test_the_loader_of_a_disk(tmp_path: Path) -> None:
    assert efi.find_loader(tmp_path) == ""
    (tmp_path / "EFI/BOOT").mkdir(parents=True)
    (tmp_path / "EFI/BOOT/BOOTX64.EFI").touch()
    assert efi.find_loader(tmp_path) == "EFI/BOOT/BOOTX64.EFI"
    (tmp_path / "EFI/debian").mkdir()
    (tmp_path / "EFI/debian/shimx64.efi").touch()
    (tmp_path / "EFI/debian/BOOTX64.CSV").write_bytes("shimx64.efi,debian,,The entry\n".encode("utf-16"))
    assert efi.find_loader(tmp_path) == "EFI/debian/shimx64.efi"


def test_a_boot_entry_has_the_form_of_the_specification() -> None:
    part = Partition(2, MB, 8 * MB, table.ESP, "01020304-0506-0708-090a-0b0c0d0e0f10")
    made = efi.option(part, "", 512, "EFI/BOOT/BOOTX64.EFI", gpt=True)
    attributes, length = struct.unpack_from("<IH", made)
    name = "Hagane\0".encode("utf-16-le")
    way = made[6 + len(name) :]
    assert (attributes, length) == (1, len(way)) and made[6 : 6 + len(name)] == name
    assert struct.unpack_from("<BBHIQQ", way) == (4, 1, 42, 2, 2048, 16384) and way[40:42] == b"\2\2"
    assert way[24:40] == bytes.fromhex("0403020106050807090a0b0c0d0e0f10")
    path = "\\EFI\\BOOT\\BOOTX64.EFI\0".encode("utf-16-le")
    assert way[42:] == struct.pack("<BBH", 4, 4, 4 + len(path)) + path + b"\x7f\xff\4\0"


@pytest.mark.parametrize(
    ("given", "mac"),
    [
        ("BOOTIF=01-52-54-00-AB-cd-ef", "52:54:00:ab:cd:ef"),
        ("BOOTIF=52:54:00:ab:cd:ef", "52:54:00:ab:cd:ef"),
        ("x=1", ""),
    ],
)
def test_kernel_parameters(tmp_path: Path, given: str, mac: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(f"quiet {given} ipa_collect_lldp=1 ipa-api-url=http://x/baremetal?a=b\n")
    here = place(tmp_path)
    assert here.boot_mac == mac and here.flag("ipa-collect-lldp") and not here.flag("ipa-debug")
    assert here.setting("ipa-api-url") == "http://x/baremetal?a=b" and not here.real


def test_parameters_without_a_checksum_or_a_size_are_refused() -> None:
    with pytest.raises(Invalid):
        params.image_info("i", "http://x", hash_algo="sha256", hash_value="", node_uuid="n", boot_mode="bios")
    with pytest.raises(Invalid):
        params.partitions({"root_gb": 0}, boot_mode="bios")
    sizes = params.partitions({"root_gb": 10, "swap_mb": 512, "ephemeral_gb": 2}, boot_mode="uefi")
    assert (sizes["root_mb"], sizes["swap_mb"], sizes["ephemeral_mb"]) == (10240, 512, 2048)


def test_a_ramdisk_is_told_no_secrets() -> None:
    told = params.agent_node({
        "uuid": "n", "name": "one", "driver_info": {"redfish_password": "x", "redfish_address": "y"},
        "driver_internal_info": {"agent_secret_token": "x"}, "instance_info": {"configdrive": "x", "root_gb": 1},
    })  # fmt: skip
    assert told["driver_info"] == {"redfish_address": "y"} and told["instance_info"] == {"root_gb": 1}
    assert told["driver_internal_info"] == {} and told["properties"] == {} and told["uuid"] == "n"
