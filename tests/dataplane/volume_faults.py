"""`make test-volume-faults`: each fault at each step of what is done with volumes by iSCSI, and what came of it.

    cells (fault x kind x step) ──▶ Hagane waits at the step ──▶ fault ──▶ it goes on ──▶ table: how it ended, or WRONG

Not collected by the other targets: it takes half an hour. After each cell the volumes are attached once or not at all,
rows, targets and machines agree, and what a guest was told is on a disk is on it; the Server was never started anew.
`--only`, `--kinds`, `--steps` try a part, `--out FILE` keeps each result as a line, and cells that are right in there
already are left out.
"""

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.dataplane.volume_work import KINDS, Work
from tests.dataplane.volume_world import VolumeWorld, volume_world

BLIP, CUT = 3.0, 30.0  # seconds; QEMU's initiator gives its session up after 15 to 20
NOT_HIT = "not hit"


@dataclass
class Cell:
    """`outcome`: a word of how it ended, or what was wrong."""

    fault: str
    kind: str
    step: str
    right: bool = False
    outcome: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        return self.fault, self.kind, self.step


def _kill(world: VolumeWorld, begin: Callable[[], None]) -> None:
    begin()
    world.kill()
    world.cloud.start()


def _kill_targets(world: VolumeWorld, begin: Callable[[], None]) -> None:
    assert world.kill_targets() > 0, "there is no target daemon"
    begin()


def _cut(seconds: float) -> Callable[[VolumeWorld, Callable[[], None]], None]:
    def cut(world: VolumeWorld, begin: Callable[[], None]) -> None:
        world.cut()
        try:
            begin()
            time.sleep(seconds)
        finally:
            world.mend()

    return cut


FAULTS: dict[str, Callable[[VolumeWorld, Callable[[], None]], None]] = {
    "kill": _kill, "tgt": _kill_targets, "blip": _cut(BLIP), "cut": _cut(CUT),
}  # fmt: skip
"""What is broken, and mended; in between `begin` is called, which lets the work go on, or orders it."""


def run(world: VolumeWorld, cell: Cell) -> None:
    """One cell. Raises AssertionError and RuntimeError where what has to hold does not."""
    work, fault = KINDS[cell.kind](world), FAULTS[cell.fault]
    work.prepare()
    world.write()
    hit = _struck(world, work, work.steps[cell.step], fault)
    cell.outcome = work.end() if hit else NOT_HIT
    if not hit:
        work.end()
    world.writes_on()
    world.whole(work.attached())
    work.check()
    world.untouched()
    work.clean()
    cell.right = True


def _struck(
    world: VolumeWorld, work: Work, place: str, fault: Callable[[VolumeWorld, Callable[[], None]], None]
) -> bool:
    """Whether the fault came at this place."""
    if not place:
        fault(world, work.begin)
        return True
    with world.stopped(place):
        work.begin()
        if not world.reached():
            return False
        fault(world, world.go_on)
    return True


def cells(kinds: Sequence[str], faults: Sequence[str], steps: Sequence[str] = ()) -> list[Cell]:
    return [Cell(fault, kind, step) for kind in kinds for step in KINDS[kind].steps if not steps or step in steps
            for fault in faults]  # fmt: skip


def matrix(world: VolumeWorld, todo: Sequence[Cell], out: Path | None) -> Iterator[Cell]:
    """All of them, until one leaves something behind that the next cannot be tried on."""
    for cell in todo:
        began = time.monotonic()
        try:
            run(world, cell)
        except Exception as error:
            cell.outcome = f"{type(error).__name__}: {error}"[:1500]
            if not isinstance(error, AssertionError | RuntimeError):
                cell.outcome += traceback.format_exc()[-1500:]
            world.again()
        cell.seconds = round(time.monotonic() - began, 1)
        print(f"{time.strftime('%H:%M:%S')} {'right' if cell.right else 'WRONG'} {cell.fault} / {cell.kind} / "
              f"{cell.step}, {cell.seconds:.0f} s: {cell.outcome}", flush=True)  # fmt: skip
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps(asdict(cell)) + "\n")
        yield cell


def known(out: Path | None) -> list[Cell]:
    if out is None or not out.exists():
        return []
    return [cell for cell in (Cell(**json.loads(line)) for line in out.read_text().splitlines()) if cell.right]


def table(found: Sequence[Cell]) -> Iterator[str]:
    """Fault x step, a table for each kind of work."""
    by_key = {cell.key: cell for cell in found}
    for kind in dict.fromkeys(cell.kind for cell in found):
        yield f"\n{kind:10}" + "".join(f"{step:>14}" for step in KINDS[kind].steps)
        for fault in FAULTS:
            marks = [_mark(by_key.get((fault, kind, step))) for step in KINDS[kind].steps]
            yield f"{fault:10}" + "".join(f"{mark:>14}" for mark in marks)


def _mark(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return cell.outcome if cell.right else "WRONG"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--steps", nargs="*", default=[])
    parser.add_argument("--out", type=Path, help="a file of results, one JSON document in a line")
    given = parser.parse_args()
    found = known(given.out)
    todo = [cell for cell in cells(given.kinds, given.only, given.steps) if cell.key not in {one.key for one in found}]
    print(f"{len(todo)} cells", flush=True)
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "cloud" / "volumes"  # two deep: a cloud opens its folder and two above it to QEMU's user
        folder.mkdir(parents=True)
        with volume_world(folder) as world:
            found += matrix(world, todo, given.out)
    for line in table(found):
        print(line)
    wrong = [cell for cell in found if not cell.right]
    print(f"\n{len(found)} cells, {len(wrong)} wrong, {sum(cell.outcome == NOT_HIT for cell in found)} not hit")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
