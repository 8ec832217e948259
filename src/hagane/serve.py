"""From settings to a running process: real or simulated devices, the first administrator, the HTTP server."""

from hagane.api.service import Service
from hagane.app import APIS, Hagane
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.identity.bootstrap import bootstrap as bootstrap_identity
from hagane.identity.token import authenticate
from hagane.reconcile.devices import Devices


def make(config: Config, devices: Devices) -> Hagane:
    """A process that is not started yet."""
    return Hagane(config, devices, authenticate)


def simulated(config: Config) -> Devices:
    """As many simulated Hosts as the settings say; no OVN remotes, so the network is simulated as well."""
    from hagane.drivers.hypervisor.sim import SimHypervisor

    return Devices(hosts={f"sim{n}": SimHypervisor(f"sim{n}") for n in range(1, config.simulation.hosts + 1)})


async def bootstrap(cloud: Cloud, password: str, url: str) -> None:
    """Make the first administrator, roles and catalog, where they are missing."""
    await bootstrap_identity(cloud, password, url, [])
