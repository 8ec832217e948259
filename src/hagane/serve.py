"""From settings to a running process: real or simulated devices, the first administrator, the HTTP server.

    devices up ─▶ store, reconcilers, engine ─▶ first administrator and catalog ─▶ HTTP ─▶ (SIGTERM) ─▶ all down again,
    but for the devices: machines and networks go on without this process.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import yaml

from hagane import process
from hagane.app import Hagane
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.identity.bootstrap import bootstrap as bootstrap_identity
from hagane.identity.token import authenticate
from hagane.operate import seed
from hagane.reconcile.devices import Devices

log = logging.getLogger(__name__)
Say = Callable[[str], None]

CATALOG = (
    ("identity", "keystone", "/identity"),
    ("image", "glance", "/image"),
    ("compute", "nova", "/compute/v2.1"),
    ("placement", "placement", "/placement"),
    ("network", "neutron", "/network"),
)
"""(type, name, path) of every API. The names are those that clients and their documents know."""


def make(config: Config, devices: Devices) -> Hagane:
    """A process that is not started yet."""
    return Hagane(config, devices, authenticate)


def simulated(config: Config) -> Devices:
    """As many simulated Hosts as the settings say; no OVN remotes, so the network is simulated as well."""
    from hagane.drivers.hypervisor.sim import SimHost, SimSettings

    knobs = config.simulation
    settings = SimSettings(
        vcpus=knobs.vcpus, memory_mb=knobs.memory_mb, disk_gb=knobs.disk_gb, boot_seconds=knobs.boot_seconds,
        failure_rate=knobs.failure_rate,
    )  # fmt: skip
    folder = config.state / "sim"
    return Devices(hosts={f"sim{n}": SimHost(f"sim{n}", settings, folder) for n in range(1, knobs.hosts + 1)})


@contextlib.asynccontextmanager
async def real(config: Config, say: Say) -> AsyncIterator[Devices]:
    """OVN, Open vSwitch and libvirt of this machine, found or started, and kept alive while the process runs."""
    from hagane.drivers.hypervisor.libvirt import LibvirtHost
    from hagane.lab import machine, requirements, site, supervise

    place = site.of(config.state, config.hosts, config.external_network)
    kvm = await requirements.kvm_usable(config.state)
    address = await machine.up(place, kvm=kvm)
    hosts = {host.name: LibvirtHost.of_lab(host) for host in address.hosts}
    hosts |= {name: LibvirtHost(name, uri) for name, uri in config.libvirt.items()}
    first = address.hosts[0]
    devices = Devices(
        hosts=dict(hosts), northbound=config.ovn_nb or address.central.northbound,
        southbound=config.ovn_sb or address.central.southbound, local_switch=first.ovs_db,
        local_namespace=first.netns, external=place.external.physical_network,
    )  # fmt: skip
    keeper = asyncio.create_task(supervise.supervise(place, say, kvm=kvm), name="supervise")
    try:
        yield devices
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def bootstrap(cloud: Cloud, password: str, url: str) -> None:
    """Make the first administrator, roles and catalog, where they are missing."""
    await bootstrap_identity(cloud, password, url, CATALOG)


async def run(config: Config, say: Say) -> None:
    """Serve until a signal ends it. Raises Unavailable with a remedy when something needed is missing."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o711)
    async with contextlib.AsyncExitStack() as stack:
        devices = simulated(config) if config.sim else await stack.enter_async_context(real(config, say))
        hagane = make(config, devices)
        await hagane.start()
        stack.push_async_callback(hagane.stop)
        server = hagane.server()
        url = config.public_url or f"{'https' if config.tls_certificate else 'http'}://{config.listen}"
        await bootstrap(hagane.cloud, credentials(config, url), url)
        await seed.seed(hagane, config)
        process.write(config.state, url, sim=config.sim)
        stack.callback(process.clear, config.state)
        say(f"ready at {url}")
        await server.serve()


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
