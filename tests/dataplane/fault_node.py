"""One Node of the fault matrix: brought to where a fault shall hit it, looked at afterwards, and brought back."""

import time
from contextlib import suppress
from typing import Any

from hagane.drivers.bmc.base import Power
from hagane.drivers.gateway.ovsdb import names as patches
from hagane.lab import rack_fault
from hagane.lab.rack_place import TRUNK_BRIDGE
from tests.dataplane.cloud import until
from tests.dataplane.fault_cells import ENDS, STEPS, Fault
from tests.dataplane.steel import API, READY, Row, Steel

STRETCH = {"redfish": "bmc-slow=0.3", "ipmi": "bmc-slow=0.1"}  # so that short steps are long enough to be hit
FAILURES = ("deploy failed", "clean failed", "inspect failed", "error", "adopt failed")


class FaultNode:
    def __init__(self, steel: Steel, name: str, image: str) -> None:
        self.steel, self.name, self.image = steel, name, image

    # -- towards the fault -------------------------------------------------------------------------------------------

    def ready(self, kind: str) -> None:
        """Available for a deployment, manageable for cleaning, active for a deletion: adopted, as that is quick."""
        if kind == "deploy":
            return
        self.steel.tell(self.name, "manage")
        self.steel.state(self.name, "manageable")
        if kind == "clean":
            self.steel.set(self.name, "/automated_clean", True)
            return
        self.steel.set(self.name, "/instance_info", {"image_source": self.image})
        self.steel.tell(self.name, "adopt")
        self.steel.state(self.name, "active")
        self.power("power on")
        until(lambda: self.steel.row(self.name)["power_state"] == "power on", 60, "it is on")

    def power(self, target: str) -> None:
        path = f"/nodes/{self.name}/states/power"
        answer = self.steel.api.put(path, json={"target": target}, microversion=API)
        assert answer.status_code == 202, answer.text

    def begin(self, kind: str, *, slowly: bool) -> None:
        if slowly:
            self.stretch()
        if kind == "deploy":
            self.steel.deploy(self.name, self.image)
        else:
            self.steel.tell(self.name, {"clean": "provide", "delete": "deleted"}[kind])

    def stretch(self) -> None:
        self.fault(self.name, STRETCH[self.steel.machine(self.name).bmc])

    def come(self, kind: str, step: str, seconds: float = 300.0) -> str:
        """Wait until the work is at a step, or beyond it; returns where it is."""
        steps = list(STEPS[kind])
        deadline = time.monotonic() + seconds
        while True:
            state, phase, under_way = self.steel.place(self.name)
            now = "write-image" if under_way == "write-image" and "write-image" in steps else phase
            if now in steps and steps.index(now) >= steps.index(step):
                return now
            if state in (ENDS[kind], READY) or (kind == "delete" and state == "cleaning"):
                return state  # it was over before it was seen
            assert state not in FAILURES, f"before the fault: {state}: {self.steel.row(self.name)['last_error']}"
            assert time.monotonic() < deadline, f"it did not come to {step}: {self.steel.told(self.name)}"
            time.sleep(0.01)

    def fault(self, part: str, name: str) -> None:
        self.steel.fault(part, name)

    def mend(self, part: str) -> None:
        self.steel.mend(part)

    # -- what came of it ---------------------------------------------------------------------------------------------

    def end(self, states: tuple[str, ...], seconds: float) -> Row:
        """The Node when it is in one of these states."""

        def look() -> Row | None:
            row = self.steel.row(self.name)
            return row if row["provision_state"] in states else None

        try:
            found = until(look, seconds, "the work has ended")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.steel.told(self.name)}") from None
        assert found is not None
        return found

    def told(self, words: tuple[str, ...]) -> str:
        """The cause of a failure: in words, in the Node's history, and in what `explain` says, with a way out."""
        row = self.steel.row(self.name)
        why = str(row["last_error"])
        assert why and "Traceback" not in why and "unforeseen" not in why, why
        assert not words or any(word in why for word in words), why
        lines = self.steel.sql("SELECT event FROM node_history WHERE node_id = ? AND severity = 'ERROR'", row["id"])
        assert any(why[:60] in line["event"] for line in lines), (why, lines)
        said = self.steel.told(self.name)
        assert why[:40] in said and "openstack baremetal node" in said, said
        return why[:160]

    def well(self, kind: str) -> None:
        """The work has ended well: power and media are as they have to be."""
        wanted = Power.ON if kind == "deploy" else Power.OFF

        def look() -> bool:
            seen = self.steel.shown(self.name)
            assert seen.power is wanted and not any(seen.media.values()), seen
            return True

        until(look, 90, f"it is {wanted.value}, without media")

    def stays(self, fault: Fault) -> str:
        """A Node on which nothing is done: what a fault does to it is noticed, and over when the fault is."""
        if fault.inject == "bmc-dead" and not fault.seconds:
            until(lambda: self.steel.row(self.name)["fault"] == "power failure", 120, "the BMC is missed")
            self.told(fault.words)
        elif fault.inject == "power-loss":
            until(lambda: self.steel.shown(self.name).power is Power.ON, 60, "it is on again")
        else:
            time.sleep(3)
        self.mend(self.name)
        until(lambda: not self.steel.row(self.name)["maintenance"], 60, "it is not in maintenance")
        row = self.end(("active",), 1)
        assert row["power_state"] == "power on", row["power_state"]
        return "active"

    # -- back --------------------------------------------------------------------------------------------------------

    def back(self, seconds: float) -> None:
        """Available, without cleaning, by the ways that `explain` tells."""
        deadline = time.monotonic() + seconds
        for part in rack_fault.present(self.steel.rack):
            if part == self.name:
                self.mend(part)
        while True:
            row = self.steel.row(self.name)
            state = row["provision_state"]
            if state == READY and not row["maintenance"]:
                break
            assert time.monotonic() < deadline, f"it is not available again: {state}: {row['last_error']}"
            with suppress(AssertionError):  # it may be on its way to another state
                self._onwards(row, state)
            time.sleep(0.2)
        self.steel.set(self.name, "/automated_clean", False)

    def _onwards(self, row: Row, state: str) -> None:
        rack = self.steel
        if row["maintenance"] and row["fault"] != "power failure":
            rack.api.delete(f"/nodes/{self.name}/maintenance", microversion=API)
        if state in ("clean failed", "inspect failed", "adopt failed"):
            rack.tell(self.name, "manage")
        elif state == "manageable":
            rack.set(self.name, "/automated_clean", False)
            rack.tell(self.name, "provide")
        elif state in ("active", "deploy failed", "error"):
            rack.set(self.name, "/automated_clean", False)
            rack.tell(self.name, "deleted")

    def clean(self, seconds: float = 60.0) -> None:
        """Nothing is left of what was done to the Node."""

        def look() -> bool:
            left = {kind: what for kind, what in self._left().items() if what}
            assert not left, left
            return True

        until(look, seconds, "nothing is left")

    def _left(self) -> dict[str, Any]:
        rack, row = self.steel, self.steel.row(self.name)
        seen = rack.shown(self.name)
        nics = [patches(nic["id"])[0] for nic in rack.sql("SELECT id FROM nic WHERE node_id = ?", row["id"])]
        dead = {part for part, faults in rack_fault.present(rack.rack).items() if "dead" in faults}
        switched = "dead" in dead or rack.rack.switch in dead
        return {
            "media": [url for url in seen.media.values() if url],
            "power": seen.power.value if seen.power is not Power.OFF else "",
            "Ports": rack.sql("SELECT id, device_owner FROM port WHERE device_id = ?", row["id"]),
            "patch ports": [name for one in rack.rack.gateways if one not in dead
                            for name in rack.vsctl(one, "list-ports", TRUNK_BRIDGE).split() if name in nics],
            "SwitchPorts": {} if switched else {name: tag for name, tag in rack.vlans().items()
                                                if tag and name.startswith(f"{self.name}-")},
            "token": [key for key in row["driver_internal_info"] if key == "agent_secret_token"],
            "work": (row["seen"] or {}).get("life"),
        }  # fmt: skip
