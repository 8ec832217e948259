"""One TOML file, typed. Every setting has a default that works; `hagane up` writes none of them.

[hagane]                    # hagane.toml
listen = "127.0.0.1:8774"
database = "postgresql://hagane@db/hagane"
"""

import re
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from hagane.errors import Invalid

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Limit = Annotated[int, msgspec.Meta(ge=-1)]  # -1: none


class Simulation(msgspec.Struct, forbid_unknown_fields=True):
    """Knobs of the simulated devices (`hagane up --sim`). Times are seconds."""

    hosts: Count = 3
    vcpus: Count = 64
    memory_mb: Count = 262_144
    disk_gb: Count = 4_000
    delays: bool = True  # machines take about as long as real ones; false: everything at once


class Baremetal(msgspec.Struct, forbid_unknown_fields=True):
    """How long a Node may take, in seconds; what takes longer fails with the cause. And how its power is watched."""

    deploy_callback: Positive = 900.0  # until the ramdisk of a deployment calls back
    clean_callback: Positive = 1800.0
    inspect_callback: Positive = 1800.0
    rescue_callback: Positive = 1800.0
    service_callback: Positive = 1800.0
    deploy_step: Positive = 7200.0  # one step of a deployment: an image may be large and a network slow
    clean_step: Positive = 172800.0  # one step of cleaning or service: erasing a large disk takes a day
    clean_step_priority_override: dict[str, int] = msgspec.field(default_factory=dict)  # "deploy.erase_devices" = 0
    heartbeat: Positive = 300.0  # a ramdisk that says nothing for so long is gone
    bmc: Positive = 180.0  # a BMC that does not answer in the middle of something
    network: Positive = 120.0  # until a network carries a Nic
    power_poll: Positive = 60.0  # between looks at the power of each Node, at most
    restore_power: bool = True  # a machine that was switched by hand is switched back; false: that is its state now


class VolumeBackend(msgspec.Struct, forbid_unknown_fields=True):
    """A storage backend beside the embedded one ([hagane.volumes.<name>]): a thin pool of LVM, or a pool of Ceph."""

    driver: Literal["lvm", "rbd"]
    pool: str
    group: str = ""  # lvm: the volume group
    user: str = "hagane"  # rbd: a client's name without "client."
    conf: str = ""  # rbd: Ceph's settings; default: /etc/ceph/ceph.conf
    keyring: str = ""  # rbd: has the client's key; default: where Ceph looks, /etc/ceph/ceph.client.<user>.keyring
    monitors: list[str] = msgspec.field(default_factory=list)  # rbd: where Hosts find them, if not where we do


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """All settings. Paths are absolute."""

    state: Path = Path("/var/lib/hagane")
    run: Path = Path("/run/hagane")  # sockets and pid files of the devices; a short path
    prefix: str = "hagane"  # of namespaces and interfaces, for several clouds on one machine
    database: str = ""  # default: sqlite in the state folder
    listen: str = "127.0.0.1:8774"
    public_url: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    region: str = "RegionOne"
    policy: str = ""  # a folder of <service>.yaml files
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    token_hours: Positive = 24.0
    bcrypt_cost: Annotated[int, msgspec.Meta(ge=4, le=31)] = 12
    workers_lease: Positive = 15.0  # seconds until the work of a killed process is taken over
    hosts: Count = 1  # Hosts that `hagane up` makes on this machine
    libvirt: dict[str, str] = msgspec.field(default_factory=dict)  # further Hosts: name -> libvirt URI
    ovn_nb: str = ""  # an OVN of your own: "tcp:10.0.0.1:6641,..."
    ovn_sb: str = ""
    external_network: str = "172.24.4.0/24"
    external_network_v6: str = "2001:db8:cafe::/64"  # "": none
    dns_servers: list[str] = msgspec.field(default_factory=list)
    cpu_ratio: Positive = 4.0
    memory_ratio: Positive = 1.0
    disk_ratio: Positive = 4.0
    image_max_gb: int = 1024  # the largest image, GiB
    image_quota_gb: int = 0  # of all images of one project, GiB; 0: no limit
    network_quota: dict[str, Limit] = msgspec.field(default_factory=dict)  # of projects without their own: router = 20
    kernel_append_params: str = "nofb vga=normal console=ttyS0,115200"  # of ramdisks on Nodes, beside their own
    ramdisk: Literal["virtual", "metal"] = "virtual"  # which drivers our own ramdisk for Nodes has: QEMU's, or many
    file_url_allowed_paths: list[str] = msgspec.field(default_factory=list)  # where file:// of a Node's ramdisk may be
    media_listen: str = ""  # ADDRESS:PORT where BMCs fetch virtual media; default: our address toward each, port 8775
    baremetal: Baremetal = msgspec.field(default_factory=Baremetal)
    volumes: dict[str, VolumeBackend] = msgspec.field(default_factory=dict)  # further storage backends, by name
    sim: bool = False
    simulation: Simulation = msgspec.field(default_factory=Simulation)

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:{self.state}/hagane.db"


def load(path: Path | None, **overrides: object) -> Config:
    """Read a file (or none) and lay the command line's settings over it. Raises Invalid with file and reason."""
    where = str(path or "command line")
    try:
        document = tomllib.loads(path.read_text()) if path is not None else {}
        main = document.pop("hagane", {})
        if not isinstance(main, dict):
            raise ValueError("`hagane` must be a table: [hagane]")
        given = {key: value for key, value in overrides.items() if value is not None}
        config = msgspec.convert(main | document | given, Config, strict=False, dec_hook=_path)
        _check(config)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise Invalid(f"{where}: {error}", code="BadConfig") from error
    return config


def _check(config: Config) -> None:
    """What the types cannot say. Raises ValueError."""
    host, _, port = config.listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"listen must be ADDRESS:PORT, not {config.listen!r}")
    address, _, port = config.media_listen.rpartition(":")
    if config.media_listen and not (address and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"media_listen must be ADDRESS:PORT, not {config.media_listen!r}")
    if config.database and not config.database.startswith(("sqlite:", "postgresql://", "postgres://")):
        raise ValueError("database must be sqlite:/path/file.db or postgresql://user@host/name")
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise ValueError("tls_certificate and tls_key go together")
    for name, backend in config.volumes.items():
        if name == "file" or not re.fullmatch(r"[a-z0-9-]{1,32}", name):
            raise ValueError(f"volumes: {name!r} cannot be a backend's name: a-z, 0-9 and '-', not 'file'")
        if backend.driver == "lvm" and not backend.group:
            raise ValueError(f"volumes.{name}: lvm needs the volume group")
        if bad := [one for one in backend.monitors if not re.fullmatch(r".+:\d+", one)]:
            raise ValueError(f"volumes.{name}: monitors must be ADDRESS:PORT, not {bad[0]!r}")
    _check_prefix("external_network", IPv4Network, config.external_network)
    if config.external_network_v6:
        _check_prefix("external_network_v6", IPv6Network, config.external_network_v6)


def _check_prefix(name: str, kind: type[IPv4Network | IPv6Network], text: str) -> None:
    try:
        size = kind(text).num_addresses
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if size < 16:
        raise ValueError(f"{name} needs 16 addresses or more, {text} has {size}")


def _path(kind: type, value: object) -> object:
    """msgspec knows no Path; everything else it decodes itself."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError
