"""`make test-faults`: every fault of the lab at every step of a Node's work, on a real rack, and what came of it.

    cells (fault x kind x step) ──▶ one worker per machine ──▶ table: the state in which it ended, or WRONG
    kill -9 at every step of everything, all machines at once;  a Server whose first Node is broken goes to another

Not collected by the other targets: it takes more than an hour. Each cell ends with its Node available again and with
nothing left of what was done; that the Node still works is shown by the next one. `--only bmc-dead --kinds deploy`
tries a part, `--out FILE` keeps each result as a line, and cells that are right in there already are left out.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from tests.dataplane import fault_kill, fault_server, leaks
from tests.dataplane.fault_cells import EITHER, ENDS, FAIL, FAILURES, FAULTS, OK, STEPS, Fault
from tests.dataplane.fault_node import FaultNode
from tests.dataplane.steel import FAILED, READY, Row, Steel, steel

RACK = 'name = "rack1"\ngateways = 2\n'
MACHINES = [
    f'[[machine]]\nname = "bm{number}"\nbmc = "{"ipmi" if number == 3 else "redfish"}"\n' for number in range(1, 9)
]
LIMITS: Row = {
    "deploy_callback": 180,
    "clean_callback": 180,
    "bmc": 40,
    "heartbeat": 60,
    "network": 90,
    "power_poll": 8,
}
LONG = ("callback", "steps", "write-image")  # steps that can be hit without slowing the BMC down
CELL = 400.0  # seconds after which one that has not ended is stuck


@dataclass
class Cell:
    fault: str
    kind: str
    step: str
    node: str = ""
    right: bool = False
    outcome: str = ""
    place: str = ""  # where the work was when the fault was there
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        return self.fault, self.kind, self.step


@dataclass
class Matrix:
    steel: Steel
    image: str
    out: Path | None
    cells: list[Cell] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    shared: threading.Lock = field(default_factory=threading.Lock)  # who breaks what is everybody's

    def run(self, cells: list[Cell]) -> None:
        """Every cell, by one worker for each machine; what passed too quickly to be hit on the way, by itself."""
        ways: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            if fault_of(cell).harmless(cell.kind):
                ways.setdefault((cell.fault, cell.kind), []).append(cell)
        self._all(list(ways.values()))
        tried = {cell.key for cell in self.cells}
        self._all([[cell] for cell in cells if cell.key not in tried])

    def _all(self, ways: list[list[Cell]]) -> None:
        """Ctrl-C: no further ones."""
        queue: SimpleQueue[list[Cell]] = SimpleQueue()
        for way in ways:
            queue.put(way)
        names = [machine.name for machine in self.steel.rack.machines]
        with ThreadPoolExecutor(len(names)) as pool:
            working = [pool.submit(self._work, name, queue) for name in names]
            try:
                for done in working:
                    done.result()
            except KeyboardInterrupt:
                while not queue.empty():
                    queue.get()

    def _work(self, name: str, queue: "SimpleQueue[list[Cell]]") -> None:
        node = FaultNode(self.steel, name, self.image)
        while True:
            try:
                cells = queue.get_nowait()
            except Empty:
                return
            hit, began = cells[:1], time.monotonic()
            try:
                if len(cells) > 1:
                    hit = []
                    self._way(node, cells, hit)
                else:
                    self._cell(node, cells[0])
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"[:1500]
                if not isinstance(error, AssertionError | RuntimeError):
                    outcome += traceback.format_exc()[-1500:]
                outcome += self._recover(node)
                for cell in hit:
                    cell.outcome, cell.right = outcome, False
            for cell in hit:
                cell.node, cell.seconds = name, round(time.monotonic() - began, 1)
                self.keep(cell)

    def _recover(self, node: FaultNode) -> str:
        try:
            node.back(CELL)
        except Exception as error:
            return f"\n      AND NO WAY OUT: {error}"
        return ""

    def keep(self, cell: Cell) -> None:
        with self.lock:
            self.cells.append(cell)
            mark = "right" if cell.right else "WRONG"
            print(f"{time.strftime('%H:%M:%S')} {mark} {cell.fault} / {cell.kind} / {cell.step} on {cell.node} "
                  f"({cell.place}), {cell.seconds:.0f} s: {cell.outcome}", flush=True)  # fmt: skip
            if self.out is not None:
                with self.out.open("a") as file:
                    file.write(json.dumps(asdict(cell)) + "\n")

    def _way(self, node: FaultNode, cells: list[Cell], hit: list[Cell]) -> None:
        """A fault that may end nothing comes at every step of the same work, one after another."""
        fault, kind = fault_of(cells[0]), cells[0].kind
        node.ready(kind)
        if cells[0].step not in ("ordered", "active"):
            node.begin(kind, slowly=True)
        for cell in cells:
            first = cell.step in ("ordered", "active")
            if not first and node.come(kind, cell.step) != cell.step:
                continue
            hit.append(cell)
            cell.place = " ".join(word for word in node.steel.place(node.name) if word)
            self._break(node, fault)
            if cell.step == "ordered":
                node.begin(kind, slowly=False)
            if not fault.part and fault.seconds:
                time.sleep(fault.seconds)
                node.mend(node.name)
            if fault.seconds or fault.part:
                node.stretch()
        outcome = self._ended(node, hit[-1], fault)
        node.mend(node.name)
        node.back(CELL)
        node.clean()
        for cell in hit:
            cell.outcome, cell.right = outcome, True

    def _cell(self, node: FaultNode, cell: Cell) -> None:
        fault = fault_of(cell)
        part, before = fault.part or node.name, cell.step in ("ordered", "active")
        node.ready(cell.kind)
        if before:
            self._break(node, fault)
        if cell.kind != "active":
            node.begin(cell.kind, slowly=not before and cell.step not in LONG)
        if not before:
            node.come(cell.kind, cell.step)
        cell.place = " ".join(word for word in node.steel.place(node.name) if word)
        if not before:
            self._break(node, fault)
        mended = threading.Timer(fault.seconds, node.mend, [part])
        if fault.seconds and not fault.part:
            mended.start()
        try:
            cell.outcome = self._ended(node, cell, fault)
        finally:
            mended.cancel()
            node.mend(node.name)
        node.back(CELL)
        node.clean()
        cell.right = True

    def _break(self, node: FaultNode, fault: Fault) -> None:
        """What belongs to all is broken by one at a time, and mended at once: the others' work has to bear it, too."""
        if not fault.part:
            node.fault(node.name, fault.inject)
            return
        with self.shared:
            node.fault(fault.part, fault.inject)
            time.sleep(fault.seconds)
            node.mend(fault.part)

    def _ended(self, node: FaultNode, cell: Cell, fault: Fault) -> str:
        """How the work ended, in short; AssertionError if it should not have ended so."""
        if cell.kind == "active":
            return node.stays(fault)
        row = node.end((ENDS[cell.kind], *FAILED), CELL)
        wanted, state, why = fault.outcome(cell.kind, cell.step), row["provision_state"], str(row["last_error"])
        if state == ENDS[cell.kind]:
            assert wanted in (OK, EITHER), f"it ended in {state} in spite of the fault"
            node.mend(node.name)
            node.well(cell.kind)
            return str(state)
        assert wanted in (FAIL, EITHER) and state == FAILURES[cell.kind], f"{state}: {why}"
        return f"{state}: {node.told(fault.words)}"


def fault_of(cell: Cell) -> Fault:
    return next(fault for fault in FAULTS if fault.name == cell.fault)


def chosen(given: argparse.Namespace) -> list[Cell]:
    """The cells to be tried: all, or some faults, kinds, and steps of them."""
    faults = [fault for fault in FAULTS if not given.only or fault.name in given.only]
    return [Cell(fault.name, kind, step) for kind in given.kinds for fault in faults if kind in fault.kinds
            for step in STEPS[kind] if not given.steps or step in given.steps]  # fmt: skip


def known(out: Path | None) -> list[Cell]:
    if out is None or not out.exists():
        return []
    return [cell for cell in (Cell(**json.loads(line)) for line in out.read_text().splitlines()) if cell.right]


def table(cells: list[Cell]) -> Iterator[str]:
    """Fault x step, a table for each kind of work."""
    found = {cell.key: cell for cell in cells}
    for kind in dict.fromkeys(cell.kind for cell in cells):
        tried = dict.fromkeys(cell.step for cell in cells if cell.kind == kind)
        steps = [step for step in STEPS.get(kind, tried) if step in tried]
        yield f"\n{kind:18}" + "".join(f"{step:>14}" for step in steps)
        for fault in dict.fromkeys(cell.fault for cell in cells if cell.kind == kind):
            marks = [_mark(found.get((fault, kind, step))) for step in steps]
            yield f"{fault:18}" + "".join(f"{mark:>14}" for mark in marks)


def _mark(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return cell.outcome.partition(":")[0] if cell.right else "WRONG"


def _folder(outer: str) -> Path:
    """Two deep: a cloud opens its folder and two above it to the user that QEMU runs as."""
    made = Path(outer) / "cloud" / "steel"
    made.mkdir(parents=True)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", action="append", default=[], help="one fault; may be repeated")
    parser.add_argument("--kinds", nargs="*", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--steps", nargs="*", default=[])
    parser.add_argument("--out", type=Path, help="a file of results, one JSON document in a line")
    parser.add_argument("--machines", type=int, default=5, choices=range(3, 9), help="workers; two for each core")
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("--no-server", action="store_true")
    given = parser.parse_args()
    old, rack = known(given.out), RACK + "".join(MACHINES[: given.machines])
    cells = [cell for cell in chosen(given) if cell.key not in {one.key for one in old}]
    with tempfile.TemporaryDirectory() as outer, steel(_folder(outer), rack, baremetal=LIMITS) as made:
        print(f"{len(cells)} cells", flush=True)
        matrix = Matrix(made, fault_server.image(made.cloud), given.out, list(old))
        names = [machine.name for machine in made.rack.machines]
        list(made.cloud.conn.network.security_groups())  # the project's own comes into being when it is first asked for
        before, all_before = made.things(*names), leaks.look(made.cloud)
        matrix.run(cells)
        for name, run in (("kill", fault_kill.run), ("server", fault_server.run)):
            if not getattr(given, f"no_{name}"):
                for fault, step, right, outcome in run(made, matrix.image):
                    matrix.keep(Cell(fault, name, step, right=right, outcome=outcome))
        for name in names:
            assert made.row(name)["provision_state"] == READY, made.row(name)
        made.clean(before, *names, seconds=60)
        leaks.none_left(made.cloud, all_before, but="node_history")
    print(*table(matrix.cells), sep="\n")
    wrong = [cell for cell in matrix.cells if not cell.right]
    print(f"\n{len(matrix.cells) - len(wrong)} of {len(matrix.cells)} are right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
