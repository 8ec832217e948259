"""The machines of a rack and their BMCs: one daemon in the out-of-band namespace, an address for each BMC.

The daemon reads one JSON file (bmc/serve.py) that is written here. User name and password are the lab's own, made once.
A machine with a Redfish BMC is reachable over IPMI too, as on real ones: that is its serial console.
"""

import asyncio
import datetime
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import hagane
from hagane.lab import netns
from hagane.lab.bmc.machine import Machine
from hagane.lab.bmc.serve import spec
from hagane.lab.process import Daemon, start, stop, together
from hagane.lab.rack_description import MachineDescription
from hagane.lab.rack_place import IPMI_PORT, REDFISH_PORT, Rack

USERNAME = "admin"
CERTIFICATE_DAYS = 3650
GB = 1 << 30


def daemon(rack: Rack) -> Daemon:
    """The process that is all BMCs of the rack."""
    folder = rack.folder
    pid_file = folder.run / "bmc.pid"
    words = (sys.executable, "-m", "hagane.lab.bmc.serve", str(_file(rack)), str(pid_file), "--detach")
    # Where this very program lies; the daemon must not depend on a folder that happens to be the current one.
    paths = (str(Path(hagane.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", ""))
    env = (("PYTHONPATH", os.pathsep.join(path for path in paths if path)),)
    program = Path(sys.executable).name
    return Daemon(f"{rack.name}/bmc", program, netns.inside(rack.oob, *words), pid_file, folder.log / "bmc.log", env)


async def network(rack: Rack) -> None:
    """The out-of-band network: its namespace, its bridge with the BMCs' addresses, this machine's cable to it."""
    await netns.create(rack.oob, ipv6=False)
    await netns.bridge(rack.oob, "br-oob", mtu=1500)
    here, plug = netns.End("", rack.oob_link), netns.End(rack.oob, "here")
    await netns.cable(here, plug, mtu=1500)
    length = rack.network.prefixlen
    addresses = (f"address replace {rack.address(one.name)}/{length} dev br-oob" for one in rack.machines)
    await netns.batch(rack.oob, f"link set {plug.name} master br-oob", *addresses)
    await netns.batch("", f"address replace {rack.here}/{length} dev {here.name}")


async def up(rack: Rack, *, kvm: bool) -> None:
    """Disks, certificate, description and the daemon; begun anew if the description is another. Machines run on."""
    text = json.dumps(await asyncio.to_thread(_prepare, rack, kvm=kvm), indent=1)
    if not _file(rack).exists() or _file(rack).read_text() != text:
        await stop(daemon(rack))
        await asyncio.to_thread(write_private, _file(rack), text)
    await start(daemon(rack))


async def down(rack: Rack) -> None:
    """End the daemon and switch every machine off."""
    await stop(daemon(rack))
    await together(*(machine.off() for machine in machines(rack)))
    await netns.remove_link("", rack.oob_link)
    await netns.delete(rack.oob)


def machines(rack: Rack) -> list[Machine]:
    """The machines as the daemon has them, for a look at them or to pull the plug. None before the first `up`."""
    return [Machine(spec(entry)) for entry in described(rack)["machines"]]


def described(rack: Rack) -> dict[str, Any]:
    """What the daemon reads."""
    try:
        content: dict[str, Any] = json.loads(_file(rack).read_text())
    except (OSError, ValueError):
        return {"machines": []}
    return content


def password(rack: Rack) -> str:
    """Of every BMC of this rack; made at the first call. At most 20 bytes: IPMI takes no more."""
    path = rack.folder.state / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(12))
    return path.read_text()


def certificate(rack: Rack) -> Path:
    return rack.folder.state / "bmc.crt"


def _file(rack: Rack) -> Path:
    return rack.folder.run / "bmc.json"


def _prepare(rack: Rack, *, kvm: bool) -> dict[str, Any]:
    for machine in rack.machines:
        for path, size in zip(rack.disks(machine), machine.disks_gb, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with path.open("wb") as file:
                    file.truncate(size * GB)
    tls = (certificate(rack), certificate(rack).with_suffix(".key")) if rack.described.tls else None
    if tls is not None and not all(path.exists() for path in tls):
        _certify(rack, *tls)
    entries = [_entry(rack, machine, kvm=kvm) for machine in rack.machines]
    files = {"certificate": str(tls[0]), "key": str(tls[1])} if tls else {}
    return {"machines": entries, **files}


def _entry(rack: Rack, machine: MachineDescription, *, kvm: bool) -> dict[str, Any]:
    address = str(rack.address(machine.name))
    redfish = {"redfish": [address, REDFISH_PORT if rack.described.tls else 80]} if machine.bmc == "redfish" else {}
    return {
        "name": machine.name, "uuid": rack.uuid(machine.name), "folder": str(rack.machine_folder(machine.name)),
        "disks": [str(path) for path in rack.disks(machine)], "mode": machine.boot_mode,
        "nics": [{"mac": mac, "tap": port} for mac, port in rack.nics(machine)], "memory_mb": machine.memory_mb,
        "vcpus": machine.vcpus, "secure_boot": machine.secure_boot, "netns": rack.site.netns(rack.switch), "kvm": kvm,
        "username": USERNAME, "password": password(rack), "ipmi": [address, IPMI_PORT], **redfish,
    }  # fmt: skip


def _certify(rack: Rack, certificate: Path, key_file: Path) -> None:
    """A certificate that signs itself, for all BMCs at once."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"BMCs of {rack.site.prefix} {rack.name}")])
    names = x509.SubjectAlternativeName([x509.IPAddress(rack.address(one.name)) for one in rack.machines])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS)).add_extension(names, False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_private(key_file, key.private_bytes(serialization.Encoding.PEM, form, plain).decode())
    signed = builder.sign(key, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads, all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)
