"""One TOML file, typed. Every setting has a default that works; `hagane up` writes none of them.

[hagane]                    # hagane.toml
listen = "127.0.0.1:8774"
database = "postgresql://hagane@db/hagane"
"""

import tomllib
from pathlib import Path

import msgspec

from hagane.errors import Invalid


class Simulation(msgspec.Struct, forbid_unknown_fields=True):
    """Knobs of the simulated devices (`hagane up --sim`). Times are seconds."""

    hosts: int = 3
    vcpus: int = 64
    memory_mb: int = 262_144
    disk_gb: int = 4_000
    delays: bool = True  # machines take about as long as real ones; false: everything at once


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
    log_format: str = "text"  # or json
    log_level: str = "info"
    token_hours: float = 24.0
    bcrypt_cost: int = 12
    workers_lease: float = 15.0  # seconds until the work of a killed process is taken over
    hosts: int = 1  # Hosts that `hagane up` makes on this machine
    libvirt: dict[str, str] = msgspec.field(default_factory=dict)  # further Hosts: name -> libvirt URI
    ovn_nb: str = ""  # an OVN of your own: "tcp:10.0.0.1:6641,..."
    ovn_sb: str = ""
    external_network: str = "203.0.113.0/24"
    external_network_v6: str = "2001:db8:cafe::/64"  # "": none
    dns_servers: list[str] = msgspec.field(default_factory=list)
    cpu_ratio: float = 4.0
    memory_ratio: float = 1.0
    disk_ratio: float = 4.0
    image_max_gb: int = 1024  # the largest image, GiB
    image_quota_gb: int = 0  # of all images of one project, GiB; 0: no limit
    sim: bool = False
    simulation: Simulation = msgspec.field(default_factory=Simulation)

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:{self.state}/hagane.db"


def load(path: Path | None, **overrides: object) -> Config:
    """Read a file (or none) and lay the command line's settings over it. Raises Invalid with file and reason."""
    data: dict[str, object] = {}
    if path is not None:
        try:
            document = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Invalid(f"{path}: {error}", code="BadConfig") from error
        data = document.get("hagane", {}) | {k: v for k, v in document.items() if k != "hagane"}
    data |= {key: value for key, value in overrides.items() if value is not None}
    try:
        return msgspec.convert(data, Config, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise Invalid(f"{path or 'command line'}: {error}", code="BadConfig") from error


def _path(kind: type, value: object) -> object:
    """msgspec knows no Path; everything else it decodes itself."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError
