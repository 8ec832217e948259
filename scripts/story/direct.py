"""Act two, 4: the direct binding, for those who want wire speed and say so: frames go switch to switch.

The operator gives the project two Ports on a VLAN network of the rack, without port security (a right of the network's
owner), and anvil and hammer take them as second NICs. The SwitchPort moves to the
network's own VLAN; nothing filters there, and the API says so: asking for a security group is refused.
"""

from story.guest import ping, pinged
from story.rack import nodes_of
from story.stage import ADMIN, DEMO, Stage, decoded

ONE = ("-f", "value", "-c", "id")
VLAN, RANGE = 300, "10.30.0.0/24"
ADDRESSES = {"anvil": "10.30.0.11", "hammer": "10.30.0.12"}


def tell(stage: Stage) -> None:
    _network(stage)
    where = nodes_of(stage, *ADDRESSES, who=DEMO)
    before = {name: _vlan(stage, f"{node}-1") for name, node in where.items()}
    _ports(stage)
    _, took = stage.until(lambda: _moved(stage, where), 30, "both SwitchPorts are in the network's VLAN")
    told = ", ".join(f"{where[name]}-1 from {before[name] or 'no VLAN'} to {VLAN}" for name in ADDRESSES)
    stage.screen.proof(f"the switch says that its ports moved: {told} ({took:.1f} s)")
    _packets(stage)
    _refused(stage)


def _network(stage: Stage) -> None:
    stage.client.run(
        ADMIN, "network", "create", "wire", "--share", "--provider-network-type", "vlan",
        "--provider-physical-network", "rack1", "--provider-segment", str(VLAN), *ONE,
    )  # fmt: skip
    stage.client.run(ADMIN, "subnet", "create", "wire", "--network", "wire", "--subnet-range", RANGE, "--gateway",
                     "none", *ONE)  # fmt: skip


def _ports(stage: Stage) -> None:
    port = ("port", "create", "--network", "wire", "--project", DEMO, "--disable-port-security",
            "--no-security-group", *ONE)  # fmt: skip
    stage.client.together(
        ADMIN, *((*port, "--fixed-ip", f"ip-address={ip}", f"wire-{name}") for name, ip in ADDRESSES.items())
    )
    stage.client.together(DEMO, *(("server", "add", "port", name, f"wire-{name}") for name in ADDRESSES))


def _moved(stage: Stage, where: dict[str, str]) -> bool | None:
    return True if all(_vlan(stage, f"{node}-1") == VLAN for node in where.values()) else None


def _vlan(stage: Stage, port: str) -> int | None:
    """The untagged VLAN of a port of the top-of-rack switch, by the switch itself."""
    tag = stage.tor("--if-exists", "get", "Port", port, "tag").strip()
    return int(tag) if tag.isdigit() else None


def _packets(stage: Stage) -> None:
    """The second NICs get their addresses, and reach each other through the switch alone."""
    for name, address in ADDRESSES.items():
        stage.until(lambda name=name, address=address: _has(stage, name, address), 40,  # type: ignore[misc]
                    f"{name} has {address} on its second NIC")  # fmt: skip
    answer = stage.guests.tell("anvil", ping(ADDRESSES["hammer"], source="eth1"))
    found = pinged(answer.text)
    stage.screen.proof(f"ping from switch port to switch port: {found}", holds=found.well, evidence=answer.text)


def _has(stage: Stage, name: str, address: str) -> bool | None:
    return True if f" {address}/" in stage.guests.run(name, "ip -4 -o addr show dev eth1").text else None


def _refused(stage: Stage) -> None:
    """What cannot be enforced is not taken silently."""
    refused = not stage.client.tried(DEMO, "port", "set", "wire-anvil", "--security-group", "door")
    shown = decoded(stage.client.ask(DEMO, "port", "show", "wire-anvil", "-f", "json", "-c", "security_group_ids"))
    text = "a security group for a Port without port security is refused, and nothing has changed"
    stage.screen.proof(text, holds=refused and not shown["security_group_ids"])
    stage.client.together(DEMO, *(("server", "remove", "port", name, f"wire-{name}") for name in ADDRESSES))
    _, took = stage.until(lambda: True if _back(stage) else None, 30, "the SwitchPorts left the VLAN")
    stage.screen.proof(f"taken off again: no SwitchPort is in VLAN {VLAN} ({took:.1f} s)")
    stage.client.together(DEMO, *(("port", "delete", f"wire-{name}") for name in ADDRESSES))
    stage.client.run(ADMIN, "network", "delete", "wire")


def _back(stage: Stage) -> bool:
    return not stage.tor("--bare", "--columns=name", "find", "Port", f"tag={VLAN}").strip()
