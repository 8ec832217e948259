"""Act three, 2: the same volume under bare metal, by iSCSI; then its Node dies, and the server returns on another.

forge      boots from `vault` on a Node and reads what a VM wrote there; writes, and is deleted
foundry    boots from it on another Node, reads both, loses its Node, and is evacuated
"""

from time import monotonic

from story import volumes
from story.rack import nodes_of, states, told
from story.stage import ADMIN, DEMO, Stage
from story.volumes import WRITTEN

FORGE, FOUNDRY = "10.10.0.83", "10.10.0.84"
FORGED = "forged in steel"
SECONDS = 240.0


def tell(stage: Stage) -> None:
    _room(stage)
    volumes.order(stage, "forge", FORGE, "bm.small", seconds=SECONDS)
    _read(stage, "forge", [WRITTEN])
    stage.guests.tell("forge", f"echo '{FORGED}' >>/root/diary; sync")
    volumes.delete(stage, "forge")
    volumes.order(stage, "foundry", FOUNDRY, "bm.small", seconds=SECONDS)
    _read(stage, "foundry", [WRITTEN, FORGED])
    _dies(stage)
    volumes.delete(stage, "foundry")


def _room(stage: Stage) -> None:
    """Two Nodes are free: the other project has given its machines back."""
    states(stage, "available", _others(stage, "hammer"), SECONDS, failed=("clean failed", "error"))


def _others(stage: Stage, *servers: str) -> tuple[str, ...]:
    """The Nodes that these Servers do not run on."""
    return tuple(sorted({"bm1", "bm2", "bm3"} - set(nodes_of(stage, *servers, who=DEMO).values())))


def _read(stage: Stage, name: str, lines: list[str]) -> None:
    """It is a Node, its root is the volume, and what was written there is there."""
    answer = stage.guests.tell(name, "cat /sys/class/dmi/id/product_name; cat /root/diary")
    node = nodes_of(stage, name, who=DEMO)[name]
    text = f"{name} runs on {node} without a local disk, and reads: {', '.join(lines)}"
    stage.screen.proof(text, holds=answer.text.splitlines() == ["Virtual bare metal", *lines])
    found = stage.guests.run(name, "ls /sys/class/iscsi_session").text
    stage.screen.proof(f"{name}'s root file system is an iSCSI session: {found}", holds=found.startswith("session"))


def _dies(stage: Stage) -> None:
    """A BMC is dead, and nobody knows what its machine does. One command brings the server back on another Node."""
    node = nodes_of(stage, "foundry", who=DEMO)["foundry"]
    states(stage, "available", _others(stage, "foundry", "hammer"), SECONDS, failed=("clean failed",))
    stage.guests.forget("foundry")
    told(stage, "lab", "fault", node, "bmc-dead")
    stage.client.run(ADMIN, "baremetal", "node", "maintenance", "set", node, "--reason", "its BMC is dead")
    began = monotonic()
    # From 2.95 on, which the client would ask for, an evacuated server is left off.
    order = stage.client.start(ADMIN, "--os-compute-api-version", "2.94", "server", "evacuate", _id(stage, "foundry"))
    stage.client.finish(order, most=0)
    other, _ = stage.until(lambda: _elsewhere(stage, node), SECONDS, "foundry is on another Node", pause=0.5)
    stage.active(DEMO, "foundry", seconds=SECONDS)
    volumes.booted(stage, "foundry")
    text = f"foundry is back, on {other} and at the same address, {monotonic() - began:.1f} s after the one command"
    stage.screen.proof(text)
    _read(stage, "foundry", [WRITTEN, FORGED])
    _mended(stage, node)


def _mended(stage: Stage, node: str) -> None:
    """The dead machine is repaired, and is another tenant's as soon as it is cleaned."""
    told(stage, "lab", "fault", node, "--clear")
    stage.client.run(ADMIN, "baremetal", "node", "maintenance", "unset", node)


def _id(stage: Stage, name: str) -> str:
    return stage.client.ask(DEMO, "server", "show", name, "-f", "value", "-c", "id").strip()


def _elsewhere(stage: Stage, node: str) -> str | None:
    found = nodes_of(stage, "foundry", who=DEMO)["foundry"]
    return found if found not in ("", node) else None
