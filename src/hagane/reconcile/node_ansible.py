"""Nodes whose deploy interface is `ansible`: which key their ramdisk lets in, and which playbook writes their disk.

The key belongs to the cloud and is made when the first such Node is booted; all processes share its file. An operator's
playbook is a file in <state>/playbooks that a Node's driver_info names (ansible_deploy_playbook): a plain name, because
who may edit a Node may not choose what runs on this machine.
"""

from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hagane.cloud import Cloud
from hagane.drivers.deploy import ansible
from hagane.drivers.deploy.base import Agent, Dial
from hagane.drivers.deploy.params import agent_node
from hagane.errors import Invalid
from hagane.state.database import Row
from hagane.state.keyring import KeyRing

INTERFACE = "ansible"


class NodeAnsible:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.runs = ansible.Playbooks()

    @cached_property
    def key(self) -> Ed25519PrivateKey:
        ring = KeyRing(self.state / "keys" / "ansible")
        return ansible.key_of(ring.path.read_bytes())

    def agent(self, inner: Agent, dial: Dial, host: str, node: Row) -> Agent:
        told = agent_node(node | {"uuid": node["id"]})
        return ansible.AnsibleAgent(
            inner, dial, host, key=self.key, node=told, runs=self.runs, playbook=self.playbook(node)
        )

    def playbook(self, node: Row) -> Path:
        """Raises Invalid."""
        name = (node["driver_info"] or {}).get("ansible_deploy_playbook")
        if not name:
            return ansible.DEFAULT
        file = self.state / "playbooks" / str(name)
        if file.name != name or not file.is_file():
            raise Invalid(f"driver_info/ansible_deploy_playbook names no file in {file.parent}: {name}")
        return file


def of(cloud: Cloud) -> NodeAnsible:
    if not cloud.has(NodeAnsible):
        cloud.provide(NodeAnsible, NodeAnsible(cloud.config.state))
    return cloud.use(NodeAnsible)


def parameters(cloud: Cloud, node: Row) -> str:
    """What the ramdisk's kernel command line needs for it; "" for other Nodes."""
    return ansible.sshkey_parameter(of(cloud).key) if node["deploy_interface"] == INTERFACE else ""
