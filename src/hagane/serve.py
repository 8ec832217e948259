"""From settings to a running process: real or simulated devices, the first administrator, the HTTP server.

devices up ─▶ store, reconcilers, engine ─▶ first administrator and catalog ─▶ HTTP ─▶ (SIGTERM) ─▶ all down again,
but for the devices: machines and networks go on without this process.
"""

import asyncio
import contextlib
import gc
import logging
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hagane import process
from hagane.app import Hagane
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.drivers.boot.base import Ramdisk
from hagane.drivers.volume.base import VolumeDriver
from hagane.drivers.volume.export import Exports
from hagane.errors import ConfigError, HaganeError, Unavailable
from hagane.identity.bootstrap import bootstrap as bootstrap_identity
from hagane.identity.token import authenticate
from hagane.operate import seed
from hagane.operate.site import site
from hagane.reconcile.devices import Devices

if TYPE_CHECKING:
    from hagane.lab.host import HostAddress
    from hagane.lab.site import Site

log = logging.getLogger(__name__)
Say = Callable[[str], None]
CATALOG = (
    ("identity", "keystone", "/identity"),
    ("image", "glance", "/image"),
    ("compute", "nova", "/compute/v2.1"),
    ("placement", "placement", "/placement"),
    ("network", "neutron", "/network"),
    ("block-storage", "cinder", "/volume/v3"),
    ("volumev3", "cinderv3", "/volume/v3"),
    ("baremetal", "ironic", "/baremetal"),
)
"""(type, name, path) of every API that is offered; clients look for the types."""


def make(config: Config, devices: Devices) -> Hagane:
    """A process that is not started yet."""
    return Hagane(config, devices, authenticate)


def simulated(config: Config) -> Devices:
    """As many simulated Hosts as the settings say; the network is simulated as well, unless an OVN is named."""
    from hagane.drivers.hypervisor.sim import SimHypervisor
    from hagane.drivers.hypervisor.sim_knobs import Delays
    from hagane.drivers.volume.export import Home, SimExports
    from hagane.drivers.volume.sim import SimVolumes

    knobs = config.simulation
    hosts = {
        f"sim{n}": SimHypervisor(
            f"sim{n}", vcpus=knobs.vcpus, memory_mb=knobs.memory_mb, disk_gb=knobs.disk_gb,
            delays=Delays() if knobs.delays else Delays.none(), state=config.state / "sim" / f"sim{n}.json",
        )
        for n in range(1, knobs.hosts + 1)
    }  # fmt: skip
    volumes: dict[str, VolumeDriver] = {"sim": SimVolumes(config.state / "sim" / "volumes.json")}
    return Devices(
        hosts=dict(hosts), northbound=config.ovn_nb, southbound=config.ovn_sb, volumes=volumes,
        exports=SimExports({"sim": Home(frozenset(hosts))}),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def real(config: Config, say: Say) -> AsyncIterator[Devices]:
    """OVN, Open vSwitch and libvirt of this machine, found or started, and kept alive while the process runs."""
    from hagane.drivers.hypervisor.libvirt import Libvirt
    from hagane.drivers.volume.file import FileVolumes
    from hagane.lab import guest, machine, requirements, supervise
    from hagane.lab import kvm as kvm_check

    place = site(config)
    await requirements.demand(place)
    # Before the network comes up: it may hide a mirror that this machine's own addresses lead to.
    image = await asyncio.to_thread(guest.build)
    await _prepared(config)
    kvm = await kvm_check.usable(image.kernel)
    address = await machine.up(place, kvm=kvm)
    hosts = {
        host.name: Libvirt(
            host.libvirt_uri, name=host.name, pool=str(host.pool), accel="kvm" if host.kvm else "tcg",
            bridge=host.integration_bridge, userspace_datapath=host.datapath == "netdev", address=host.tunnel_ip,
        )
        for host in address.hosts
    }  # fmt: skip
    hosts |= {name: Libvirt(uri, name=name, accel="kvm") for name, uri in config.libvirt.items()}
    first = address.hosts[0]
    keeper = asyncio.create_task(supervise.supervise(place, say, kvm=kvm), name="supervise")
    try:
        yield Devices(
            hosts=dict(hosts), northbound=config.ovn_nb or address.central.nb,
            southbound=config.ovn_sb or address.central.sb, local_switch=first.ovs_db,
            local_namespace=first.netns, external=place.external.physical_network,
            volumes={"file": FileVolumes(first.pool_here / "volumes", first.pool / "volumes")} | _backends(config),
            exports=_exports(config, place, address.hosts), ramdisk=lambda: _ramdisk(config.ramdisk),
        )  # fmt: skip
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


def _exports(config: Config, place: "Site", hosts: "Sequence[HostAddress]") -> Exports:
    """Hosts reach volumes of others at the first Host's address on the underlay. Its namespace is where all daemons of
    the exports live, so that they end with it."""
    from hagane.drivers.volume.export import Home, TgtExports
    from hagane.drivers.volume.raw import RawViews
    from hagane.drivers.volume.tgt import Portal

    first, folder = hosts[0], place.run_folder / "export"
    homes = {"file": Home(frozenset({first.name}), first.pool_here / "volumes")}
    here = frozenset(host.name for host in hosts)  # they share this machine's devices
    homes |= {name: Home(here) for name, said in config.volumes.items() if said.driver == "lvm"}
    return TgtExports(folder, Portal(first.netns, first.tunnel_ip), RawViews(folder / "raw", first.netns), homes)


def _backends(config: Config) -> dict[str, VolumeDriver]:
    """The storage backends of the settings."""
    from hagane.drivers.volume.lvm import LvmVolumes
    from hagane.drivers.volume.rbd import Client, RbdVolumes

    made: dict[str, VolumeDriver] = {}
    for name, said in config.volumes.items():
        if said.driver == "lvm":
            made[name] = LvmVolumes(said.group, said.pool)
        else:
            client = Client(said.user, said.conf, said.keyring)
            made[name] = RbdVolumes(said.pool, client, monitors=tuple(said.monitors))
    return made


async def _prepared(config: Config) -> None:
    """Nodes' ramdisk is in the cache, if it can be had now; a cloud without Nodes does without."""
    try:
        await asyncio.to_thread(_ramdisk, config.ramdisk)
    except HaganeError as error:
        log.warning("the ramdisk for Nodes is not built yet: %s", error.message)


def _ramdisk(variant: str) -> Ramdisk:
    """Our own ramdisk for Nodes, from the cache or built; that takes a minute the first time."""
    from hagane.lab import ramdisk

    made = ramdisk.build(variant=variant)
    return Ramdisk(made.kernel, made.ramdisk, made.parameters)


async def bootstrap(cloud: Cloud, password: str, url: str) -> None:
    """Make the first administrator, roles and catalog, where they are missing."""
    await bootstrap_identity(cloud, password, url, CATALOG)


async def run(config: Config, say: Say) -> None:
    """Serve until a signal ends it. Raises Unavailable or ConfigError, with a remedy, when something is missing."""
    _prepare(config)
    async with contextlib.AsyncExitStack() as stack:
        sockets = [stack.enter_context(one) for one in _bound(config)]
        devices = simulated(config) if config.sim else await stack.enter_async_context(real(config, say))
        hagane = make(config, devices)
        await hagane.start()
        stack.push_async_callback(hagane.stop)
        url = config.public_url or _own_url(config)
        if not config.public_url and config.listen.startswith(("0.0.0.0:", "[::]:")):
            log.warning("the catalog says %s, which nobody reaches from elsewhere: set public_url", url)
        password = credentials(config, url)
        await bootstrap(hagane.cloud, password, url)
        await seed.seed(hagane.app, hagane.cloud.db, config, password)
        await hagane.meet_hosts()

        def ready() -> None:
            process.write(config, _own_url(config))
            stack.callback(process.clear, config)
            _collect_rarely()
            say(f"ready at {url}")

        await hagane.server(ready=ready).serve(sockets)


def _prepare(config: Config) -> None:
    """What can be known to be wrong before anything is started. Raises ConfigError."""
    try:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        raise ConfigError(f"The folder {config.state} cannot be made: {error.strerror}.") from error
    if config.tls_certificate:
        try:
            ssl.create_default_context().load_cert_chain(config.tls_certificate, config.tls_key)
        except OSError as error:  # SSLError is one
            files = f"{config.tls_certificate} and {config.tls_key}"
            raise ConfigError(f"TLS cannot use {files}: {error.strerror or error}.") from error


def _bound(config: Config) -> list[socket.socket]:
    """Sockets at the configured address, taken before anything else is: nobody answers there until we are ready."""
    host, _, port = config.listen.rpartition(":")
    made: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            made.append(socket.socket(family, kind, protocol))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[-1].bind(address)
    except OSError as error:
        for one in made:
            one.close()
        raise Unavailable(
            f"Cannot listen on {config.listen}: {error.strerror}. Choose another with --listen."
        ) from error
    return made


def _own_url(config: Config) -> str:
    """Where this machine's own commands reach the process, whatever it is called outside."""
    host, _, port = config.listen.rpartition(":")
    here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{'https' if config.tls_certificate else 'http'}://{here}:{port}"


def _collect_rarely() -> None:
    """Look for garbage less often: what there is after the start stays, and requests leave no cycles behind, so that
    looking through everything again and again would only hold the event loop (by 30 ms and more each time)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 20)


def credentials(config: Config, url: str) -> str:
    """The administrator's password: from clouds.yaml in the state folder, made with it (mode 0600) the first time."""
    path = config.state / "clouds.yaml"
    clouds = yaml.safe_load(path.read_text()) if path.exists() else {"clouds": {}}
    known = clouds["clouds"].get("hagane", {}).get("auth", {}).get("password")
    password: str = known or secrets.token_urlsafe(18)
    clouds["clouds"]["hagane"] = _cloud(config, url, password)
    _write_private(path, yaml.safe_dump(clouds, sort_keys=False))
    return password


def _cloud(config: Config, url: str, password: str) -> dict[str, object]:
    return {
        "auth": {
            "auth_url": f"{url}/identity/v3", "username": "admin", "password": password, "project_name": "admin",
            "user_domain_name": "Default", "project_domain_name": "Default",
        },
        "region_name": config.region,
        "identity_api_version": 3,
    }  # fmt: skip


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.chmod(0o600)
    temporary.write_text(text)
    temporary.rename(path)
