"""The guest image: boots fast, reads metadata and user data, takes keys, hot-plugs, stops softly. Runs under plain QEMU."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from hagane.lab import guest
from hagane.lab.guest import GuestImage
from tests.dataplane.guestboot import Booted, boot, keypair, overlay

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def image() -> GuestImage:
    return guest.build()


def metadata(folder: Path, user_data: str, **changes: object) -> None:
    """What the metadata service is to say."""
    latest = folder / "openstack" / "latest"
    latest.mkdir(parents=True, exist_ok=True)
    words = {"uuid": "11111111-1111-1111-1111-111111111111", "hostname": "one.example", "name": 'a "quoted" näme'}
    (latest / "meta_data.json").write_text(json.dumps({**words, "meta": {"a": [1, None, {"b": "}"}]}, **changes}))
    (latest / "user_data").write_text(user_data)


async def test_first_boot_over_http(image: GuestImage, tmp_path: Path) -> None:
    key, public = keypair(tmp_path)
    script = "#!/bin/sh\necho USER-DATA on $(hostname)\n"
    metadata(tmp_path, script, public_keys={"k": public}, admin_pass="p'|&\\x")
    async with boot(image.path, tmp_path) as machine:
        ready = await machine.says("HAGANE-GUEST-READY")
        print(f"{machine.seconds:.1f} s from QEMU's start; {ready}")
        assert "hostname=one " in ready and "metadata=http" in ready and "eth0=169.254.169.15/24" in ready
        assert (await machine.says("login:")).strip() == "one login: root (automatic login)"
        assert "Linux version" in machine.console() and "USER-DATA on one" in machine.console()
        said = await machine.ssh(
            key, "set -eu -o pipefail; id -un; cat /etc/hostname; ping -c1 169.254.169.2 | tail -1"
        )
        assert said.startswith("root\none\n") and "round-trip" in said
        assert "uid=1000(cirros)" in await machine.ssh(key, "id; ping -c1 169.254.169.2", user="cirros")
        assert await machine.ssh(key, "cut -d: -f2 /etc/shadow | head -2 | cut -c1-3") == "$6$\n$6$\n"
        assert "VARIANT_ID=a" in await machine.ssh(key, "cat /etc/os-release")
        await hot_plug(machine, key, tmp_path)
        # A restart runs user data no second time and keeps the host keys; the ACPI button stops the machine.
        host_key = await machine.ssh(key, "md5sum /etc/dropbear/ed25519; touch /root/kept; reboot")
        await machine.says("HAGANE-GUEST-READY", times=2)
        assert await machine.ssh(key, "md5sum /etc/dropbear/ed25519; ls /root") == f"{host_key}kept\n"
        assert machine.console().count("USER-DATA on one") == 1
        await machine.tell("system_powerdown")
        assert await machine.ends()


async def hot_plug(machine: Booted, key: Path, folder: Path) -> None:
    (folder / "blank").write_bytes(bytes(1 << 20))
    await machine.tell("netdev_add user,id=n1,net=10.9.0.0/24")
    await machine.tell("device_add virtio-net-pci,netdev=n1,id=d1")
    await machine.tell(f"drive_add 0 file={folder}/blank,if=none,id=hd,format=raw")
    await machine.tell("device_add virtio-blk-pci,drive=hd,id=d2")
    await asyncio.sleep(2)
    said = await machine.ssh(key, "ip -4 -o addr show eth1; ip route show default; cat /proc/partitions")
    assert "10.9.0.15/24" in said and "vdb" in said
    # The first interface keeps the default route.
    assert said.index("dev eth0  metric 100") < said.index("dev eth1  metric 101")
    await machine.tell("device_del d1")
    await asyncio.sleep(1)
    assert "eth1" not in await machine.ssh(key, "ip -o link")
    # As tests of volumes do: make a file system, keep something on it.
    keep = "mkfs -t vfat /dev/vdb; mount /dev/vdb /mnt; echo kept >/mnt/a; umount /mnt; mount /dev/vdb /mnt; cat /mnt/a"
    said = await machine.ssh(key, f"set -e; {keep}; lsblk -nd -o NAME,SIZE; ps | grep $(cat /var/run/udhcpc.eth0.pid)")
    assert "kept\n" in said and "vdb 1048576\n" in said and "udhcpc -i eth0" in said


CLOUD_CONFIG = """\
#cloud-config
hostname: configured
ssh_authorized_keys:
  - {key}
write_files:
- path: /opt/deep/one.conf
  permissions: '0640'
  content: |
    first line
      it's "indented"

    last line
- path: /opt/two
  content: "short"
runcmd:
  - echo RAN $(cat /opt/two) on $(hostname)
  - [ sh, -c, "echo LIST of $0, $1", "two words", 'it''s' ]
"""


async def test_config_drive_with_cloud_config_and_a_new_instance(image: GuestImage, tmp_path: Path) -> None:
    key, public = keypair(tmp_path)
    metadata(tmp_path, CLOUD_CONFIG.format(key=public.strip()))
    drive = config_drive(tmp_path)
    disk = overlay(image.path, tmp_path / "disk.qcow2")
    async with boot(image.path, tmp_path, *drive, disk=disk) as machine:
        assert "metadata=config-drive" in await machine.says("HAGANE-GUEST-READY")
        assert "RAN short on configured" in machine.console() and "LIST of two words, it's" in machine.console()
        written = await machine.ssh(key, "ls -l /opt/deep/one.conf | cut -c1-10; cat /opt/deep/one.conf")
        assert written == '-rw-r-----\nfirst line\n  it\'s "indented"\n\nlast line\n'
        host_key = await machine.ssh(key, "md5sum /etc/dropbear/ed25519; sync")
        await machine.ssh(key, "(sleep 1; poweroff) >/dev/null 2>&1 &")
        assert await machine.ends()
    # The same disk under another instance id, as from a snapshot: new host keys, and user data runs again.
    changed = {"uuid": "22222222-2222-2222-2222-222222222222", "hostname": "two"}
    metadata(tmp_path, "#!/bin/sh\necho AGAIN on $(hostname)\n", public_keys={"k": public}, **changed)
    async with boot(image.path, tmp_path, disk=disk) as machine:
        assert "AGAIN on two" in machine.console()
        assert await machine.ssh(key, "md5sum /etc/dropbear/ed25519") != host_key


def config_drive(folder: Path) -> tuple[str, str]:
    """A config drive as a FAT disk (compute makes ISO 9660 ones; the guest takes both)."""
    disk = folder / "config.img"
    disk.write_bytes(bytes(1 << 20))
    subprocess.run(["mkfs.vfat", "-n", "config-2", disk], check=True, capture_output=True)
    subprocess.run(["mcopy", "-s", "-i", disk, folder / "openstack", "::"], check=True)
    return "-drive", f"file={disk},if=virtio,format=raw,readonly=on"


async def test_a_network_without_dhcp_gets_its_addresses_from_the_config_drive(
    image: GuestImage, tmp_path: Path
) -> None:
    key, public = keypair(tmp_path)
    metadata(tmp_path, "", public_keys={"k": public})
    every = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "169.254.169.2"}
    base = {"id": "network0", "link": "tap0"}
    data = {
        "links": [{"id": "tap0", "ethernet_mac_address": "52:54:00:12:34:56", "type": "ovs", "mtu": 1442}],
        "networks": [
            base | {"type": "ipv4", "ip_address": "169.254.169.15", "netmask": "255.255.255.128", "routes": [every]},
            base | {"type": "ipv6", "ip_address": "fd00::5", "netmask": "ffff:ffff:ffff:ff00::", "routes": []},
            base | {"type": "ipv6_dhcp"},
        ],
        "services": [],
    }
    (tmp_path / "openstack" / "latest" / "network_data.json").write_text(json.dumps(data))
    async with boot(image.path, tmp_path, *config_drive(tmp_path)) as machine:
        said = await machine.ssh(key, "ip -o addr show eth0; ip route; ip -6 route; sleep 3; ip -o -4 addr; ps; "
                                      "echo to stdout >/dev/stdout")  # fmt: skip
    assert "inet6 fd00::5/56 " in said and "fd00::/56 dev eth0" in said, said
    assert said.endswith("to stdout\n")
    assert said.count("inet 169.254.169.15/25 ") == 2 and "udhcpc" not in said, said
    assert "default via 169.254.169.2 dev eth0" in said, said


async def test_another_variant_is_another_image(image: GuestImage, tmp_path: Path) -> None:
    other = await asyncio.to_thread(guest.build, variant="b")
    assert other.path != image.path and other.path.stat().st_size < 60 << 20
    metadata(tmp_path, "")
    async with boot(other.path, tmp_path) as machine:
        assert "variant=b" in await machine.says("HAGANE-GUEST-READY")


async def test_packages_come_whole_with_what_they_depend_on(tmp_path: Path) -> None:
    more = await asyncio.to_thread(guest.build, more=("bash", "ncat", "tcpdump"))
    key, public = keypair(tmp_path)
    metadata(tmp_path, "", public_keys={"k": public})
    async with boot(more.path, tmp_path) as machine:
        said = await machine.ssh(key, "sudo sh -c 'echo $BASH_VERSION; nc --version 2>&1'; tcpdump -i lo -c1 -n 2>&1 & "
                                      "sleep 3; ping -c1 127.0.0.1 >/dev/null; wait")  # fmt: skip
    assert said.startswith("5.") and "Ncat: Version" in said and "1 packet captured" in said
