"""What the life of a Node is made with: BMCs, ramdisks, the provisioning service, networks, and how long things may
take."""

from dataclasses import dataclass, field

from hagane.baremetal.provision import Provision
from hagane.cloud import Cloud
from hagane.drivers.deploy.agent import AgentAddress, HttpAgent
from hagane.drivers.deploy.base import Agent
from hagane.reconcile.node_bmc import Bmcs
from hagane.reconcile.node_sim import Fleet
from hagane.state.database import Database, Row
from hagane.state.secret import Secrets


@dataclass(slots=True)
class Times:
    """Seconds. What waits longer fails, with the cause."""

    callback: dict[str, float] = field(
        default_factory=lambda: {"deploy": 900.0, "clean": 1800.0, "inspect": 1800.0, "rescue": 1800.0,
                                 "service": 1800.0}
    )  # fmt: skip
    heartbeat: float = 300.0  # a ramdisk that says nothing for so long is gone
    device: float = 180.0  # a BMC that does not answer, in the middle of something
    network: float = 120.0  # until a network carries a Nic
    first: float = 10.0  # the longest pause between two questions to what does not answer
    settle: float = 5.0  # after which a machine that was switched on must be on
    look: float = 10.0  # between looks at a machine that is waited for
    agent: float = 1.0  # between questions to a ramdisk at work
    retry: float = 1.0  # after the first question without an answer; doubled each time


@dataclass(slots=True)
class Tools:
    cloud: Cloud
    bmcs: Bmcs
    fleet: Fleet
    secrets: Secrets
    times: Times = field(default_factory=Times)

    @property
    def db(self) -> Database:
        return self.cloud.db

    @property
    def provision(self) -> Provision:
        """Raises Unavailable where this process runs none."""
        return self.cloud.use(Provision)  # type: ignore[type-abstract]

    def dialled(self, row: Row, url: str, token: str, network_id: str) -> Agent:
        """The ramdisk at a URL inside a network."""
        address = AgentAddress(url, token, str((row["driver_internal_info"] or {}).get("agent_verify_ca") or ""))
        return HttpAgent(address, self.provision.dial(network_id))
