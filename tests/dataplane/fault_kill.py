"""kill -9 of Hagane at every step of deployment, cleaning and deletion, of several Nodes at once."""

import time
from collections.abc import Iterator

from tests.dataplane.fault_node import STRETCH, FaultNode
from tests.dataplane.steel import Place, Steel

SECONDS = 900.0
Result = tuple[str, str, bool, str]


def run(steel: Steel, image: str) -> Iterator[Result]:
    """One Node is deployed, then deleted and cleaned, while another is cleaned, and a third deployed."""
    kinds = ("deploy", "clean", "deploy")
    nodes = {machine.name: FaultNode(steel, machine.name, image) for machine in steel.rack.machines[: len(kinds)]}
    for node, kind in zip(nodes.values(), kinds, strict=True):
        node.ready(kind)
        node.begin(kind, slowly=True)
    ends = {name: {"deploy": "active", "clean": "available"}[kind] for name, kind in zip(nodes, kinds, strict=True)}
    yield _killed("kill -9, deploy and clean", steel, ends)
    for name, end in ends.items():
        if end == "active":
            steel.set(name, "/automated_clean", True)
            steel.fault(name, STRETCH[steel.machine(name).bmc])
            steel.tell(name, "deleted")
    yield _killed(
        "kill -9, delete and clean", steel, {name: "available" for name, end in ends.items() if end == "active"}
    )
    for node in nodes.values():
        node.back(120)
        node.clean()


def _killed(what: str, steel: Steel, ends: dict[str, str]) -> Result:
    """Kill it at each place at which any of the Nodes is seen, until all are where they shall end."""
    places: set[tuple[str, str, str]] = set()
    deadline = time.monotonic() + SECONDS
    while not all(steel.row(name)["provision_state"] == end for name, end in ends.items()):
        seen = {name: steel.place(name) for name in ends}
        if time.monotonic() > deadline:
            return what, "every", False, f"killed at {sorted(places)}; then stuck: {seen}"
        fresh = {_mark(name, place) for name, place in seen.items() if place.phase} - places
        if fresh:
            steel.cloud.process.kill()
            places |= fresh
            steel.cloud.start()
        time.sleep(0.01)
    failed = [steel.row(name)["last_error"] for name in ends if steel.row(name)["last_error"]]
    return what, "every", not failed, f"ok; killed at {len(places)} places: {sorted(places)} {failed or ''}"


def _mark(name: str, place: Place) -> tuple[str, str, str]:
    return name, place.state, f"{place.phase} {place.step if place.phase == 'steps' else ''}".strip()
