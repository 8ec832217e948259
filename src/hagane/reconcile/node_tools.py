"""What the life of a Node is made with: BMCs, ramdisks, the provisioning service, networks, and how long things may
take."""

from dataclasses import dataclass, field

from hagane.baremetal.provision import Provision
from hagane.cloud import Cloud
from hagane.config import Baremetal
from hagane.drivers.deploy.agent import AgentAddress, HttpAgent
from hagane.drivers.deploy.base import Agent
from hagane.reconcile import node_ansible
from hagane.reconcile.node_bmc import Bmcs
from hagane.reconcile.node_console import NodeConsoles
from hagane.reconcile.node_sim import Fleet
from hagane.state import clock
from hagane.state.database import Database, Row
from hagane.state.secret import Secrets


@dataclass(slots=True)
class Times:
    """Seconds. The first five are deadlines, see config.py; `callback` and `step` by what is being done."""

    callback: dict[str, float]
    step: dict[str, float]
    heartbeat: float
    device: float
    network: float
    first: float = 10.0  # the longest pause between two questions to what does not answer
    settle: float = 5.0  # after which a machine that was switched on must be on
    look: float = 10.0  # between looks at a machine that is waited for
    agent: float = 1.0  # between questions to a ramdisk at work
    retry: float = 1.0  # after the first question without an answer; doubled each time
    silent: float = 3.0  # after which a BMC that has not answered is said to be what is waited for

    @classmethod
    def of(cls, config: Baremetal) -> "Times":
        kinds = ("deploy", "clean", "inspect", "rescue", "service")
        callback = {kind: getattr(config, f"{kind}_callback") for kind in kinds}
        step = {"deploy": config.deploy_step, "clean": config.clean_step, "service": config.clean_step}
        return cls(callback, step, config.heartbeat, config.bmc, config.network)


@dataclass(slots=True)
class Tools:
    cloud: Cloud
    bmcs: Bmcs
    fleet: Fleet
    secrets: Secrets
    consoles: NodeConsoles
    times: Times
    began: float = field(default_factory=clock.wall)  # when this process began to look, in epoch seconds

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
        dial = self.provision.dial(network_id)
        agent = HttpAgent(address, dial)
        if row["deploy_interface"] == node_ansible.INTERFACE:
            return node_ansible.of(self.cloud).agent(agent, dial, agent.host, row)
        return agent
