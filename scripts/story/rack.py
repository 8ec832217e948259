"""Act two, 1: a rack of virtual bare-metal servers comes up beside the cloud, and an operator enrols it.

The machines are powered off; only their BMCs speak, each by a real protocol. What is enrolled is the same as for a rack
of steel: one file, or the `openstack baremetal` client.
"""

import json
import time

from story.screen import StoryEnded
from story.stage import ADMIN, Stage, decoded

NODES = ("bm1", "bm2", "bm3")
STEEL = ("resources:CUSTOM_BM_SMALL=1", "resources:VCPU=0", "resources:MEMORY_MB=0", "resources:DISK_GB=0")


def tell(stage: Stage) -> None:
    _lab(stage)
    _enrol(stage)
    _manage(stage)
    _inspect(stage)
    _provide(stage)


def told(stage: Stage, *words: str, most: int = 40) -> list[str]:
    """Run a `hagane` command and show it. Raises StoryEnded when it fails."""
    stage.screen.plain(f"   $ hagane {' '.join(words)}")
    began = time.monotonic()
    code, lines = stage.hagane(*words)
    stage.screen.result("\n".join(lines), time.monotonic() - began, most=most)
    if code:
        raise StoryEnded(f"hagane {' '.join(words)} ended with status {code}", "\n".join(lines))
    return lines


def _lab(stage: Stage) -> None:
    told(stage, "lab", "up")
    told(stage, "lab", "status")


def _enrol(stage: Stage) -> None:
    file = str(stage.state / "lab" / "rack1.toml")
    told(stage, "enroll", file)
    again = told(stage, "enroll", file)
    changed = [line for line in again if {"made", "changed"} & set(line.split())]
    stage.screen.proof("enrolled a second time: nothing changes", holds=not changed, evidence="\n".join(again))


def _manage(stage: Stage) -> None:
    stage.client.together(ADMIN, *(("baremetal", "node", "manage", name) for name in NODES))
    took = states(stage, "manageable", NODES, 60)
    stage.client.run(ADMIN, "baremetal", "node", "list", "-c", "name", "-c", "power_state", "-c", "provision_state")
    stage.screen.proof(f"three BMCs answer, two by Redfish and one by IPMI; the Nodes are manageable ({took:.1f} s)")


def _inspect(stage: Stage) -> None:
    """A ramdisk looks at each machine, and hears by LLDP where its NICs hang."""
    stage.client.together(ADMIN, *(("baremetal", "node", "inspect", name) for name in NODES))
    took = states(stage, "manageable", NODES, 180, failed=("inspect failed",))
    shown = decoded(stage.client.ask(ADMIN, "baremetal", "node", "show", "bm1", "-f", "json", "-c", "properties"))
    facts = shown["properties"]
    text = f"inspected in {took:.1f} s: bm1 has {facts.get('cpus')} CPU, {facts.get('memory_mb')} MB, " \
        f"{facts.get('local_gb')} GB of disk"  # fmt: skip
    stage.screen.proof(text, holds=all(str(facts.get(name) or "0") != "0" for name in ("cpus", "memory_mb")),
                       evidence=json.dumps(facts))  # fmt: skip
    nics = decoded(stage.client.ask(ADMIN, "baremetal", "port", "list", "--long", "-f", "json"))
    # The Link of the NIC that boots is in the file: without it no ramdisk would be reached.
    links = {nic["address"]: (nic["local_link_connection"] or {}).get("port_id") for nic in nics
             if not nic["pxe_enabled"]}  # fmt: skip
    text = f"LLDP told where the NICs hang that nobody had named: {', '.join(sorted(map(str, links.values())))}"
    stage.screen.proof(text, holds=len(links) == 3 and all(links.values()), evidence=json.dumps(nics))


def _provide(stage: Stage) -> None:
    stage.client.together(ADMIN, *(("baremetal", "node", "provide", name) for name in NODES))
    took = states(stage, "available", NODES, 180, failed=("clean failed",))
    stage.client.run(ADMIN, "baremetal", "node", "list", "-c", "name", "-c", "power_state", "-c", "provision_state")
    stage.screen.proof(f"cleaned and available after {took:.1f} s")
    properties = [word for text in STEEL for word in ("--property", text)]
    stage.client.run(ADMIN, "flavor", "create", "bm.small", "--ram", "384", "--disk", "1", "--vcpus", "1",
                     *properties, "-f", "value", "-c", "id")  # fmt: skip


def states(stage: Stage, wanted: str, names: tuple[str, ...], seconds: float, *, failed: tuple[str, ...] = ()) -> float:
    """Wait until Nodes are in a provision state, saying every change; returns how long it took. Raises StoryEnded."""
    said: dict[str, str] = {}
    began = time.monotonic()

    def look() -> bool | None:
        for name, state in _seen(stage, names).items():
            if said.get(name) != state:
                said[name] = state
                stage.screen.note(f"{time.monotonic() - began:5.1f} s  {name}: {state}")
            if state in failed:
                error = stage.client.ask(ADMIN, "baremetal", "node", "show", name, "-f", "value", "-c", "last_error")
                raise StoryEnded(f"Node {name}: {state}", error + "\n" + explained(stage, name))
        return True if all(said.get(name) == wanted for name in names) else None

    try:
        return stage.until(look, seconds, f"{wanted}: {', '.join(names)}", pause=0.5)[1]
    except StoryEnded as error:
        raise StoryEnded(error.message, "\n".join([error.evidence, *(explained(stage, n) for n in names)])) from None


def _seen(stage: Stage, names: tuple[str, ...]) -> dict[str, str]:
    listed = decoded(stage.client.ask(
        ADMIN, "baremetal", "node", "list", "-f", "json", "-c", "name", "-c", "provision_state"))  # fmt: skip
    return {row["name"]: row["provision_state"] for row in listed if row["name"] in names}


def explained(stage: Stage, name: str) -> str:
    """What the cloud itself says of a Node."""
    return "\n".join([f"$ hagane explain node {name}", *stage.hagane("explain", "node", name)[1]])


def down(stage: Stage) -> None:
    """The end of the rack: the cloud forgets it, then everything of it is removed."""
    stage.client.run(ADMIN, "flavor", "delete", "bm.small")
    told(stage, "enroll", "--remove", str(stage.state / "lab" / "rack1.toml"))
    told(stage, "lab", "down")


def nodes_of(stage: Stage, *servers: str, who: str) -> dict[str, str]:
    """Server -> the name of the Node that it runs on."""
    by_id = dict(
        reversed(line.split()) for line in stage.client.ask(
            ADMIN, "baremetal", "node", "list", "-f", "value", "-c", "name", "-c", "instance_uuid").splitlines()
        if "None" not in line
    )  # fmt: skip
    found = {}
    for name in servers:
        key = stage.client.ask(who, "server", "show", name, "-f", "value", "-c", "id").strip()
        found[name] = by_id.get(key, "")
    return found
