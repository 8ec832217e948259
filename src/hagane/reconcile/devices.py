"""The devices of this cloud, real or simulated, as the reconcilers get them; serve.py makes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hagane.drivers.boot.base import Ramdisk
from hagane.drivers.gateway.base import Gateway
from hagane.drivers.hypervisor.base import Hypervisor
from hagane.drivers.switch.base import Switch
from hagane.drivers.volume.base import VolumeDriver
from hagane.drivers.volume.export import Exports
from hagane.reconcile.engine import Reconciler


@dataclass
class Devices:
    """`hosts`: a connected or connectable driver per Host name. Empty OVN remotes mean the simulated OVN."""

    hosts: dict[str, Hypervisor] = field(default_factory=dict)
    northbound: str = ""  # OVSDB remotes, comma-separated
    southbound: str = ""
    network: Any = None  # an Ovn (reconcile/ovn/engine.py) that is there already; scenarios share one
    local_switch: str = ""  # OVSDB remote of the Open vSwitch beside this process, for metadata ports
    local_namespace: str = ""  # the network namespace that it runs in; empty: ours
    switches: dict[str, Switch] = field(default_factory=dict)  # by name; of others the driver is made from their row
    gateways: dict[str, Gateway] = field(default_factory=dict)
    fleet: Any = None  # simulated machines (reconcile/node_sim.py) that are there already
    volumes: dict[str, VolumeDriver] = field(default_factory=dict)  # storage backends, by name
    exports: Exports | None = None  # of volumes to machines that are not on their backend's own Host
    external: str = "ext"  # the physical network that leads outside
    ramdisk: Callable[[], Ramdisk] | None = None  # finds or builds our own for Nodes; it may block


class Part(Protocol):
    """A piece that runs beside the APIs: it watches the world and brings reconcilers."""

    @property
    def reconcilers(self) -> Sequence[Reconciler]: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...
