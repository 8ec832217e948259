"""A volume's target without a network, or killed, at some steps of what is done with volumes; a guest writes all the
while. `make test-volume-faults` tries each fault at each step."""

from collections.abc import Iterator

import pytest

from tests.dataplane.volume_faults import Cell, run
from tests.dataplane.volume_world import VolumeWorld, volume_world

pytestmark = [pytest.mark.real, pytest.mark.slow]
CELLS = (
    Cell("tgt", "write", "running"),
    Cell("blip", "write", "running"),
    Cell("blip", "attach", "plug"),
    Cell("blip", "detach", "unplug"),
    Cell("tgt", "boot", "start"),
)
ENDS = {"write": "ok", "attach": "in-use", "detach": "available", "boot": "active"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VolumeWorld]:
    with volume_world(tmp_path_factory.mktemp("volumes")) as world:
        yield world


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: " ".join(cell.key))
def test_volumes_outlive(world: VolumeWorld, cell: Cell) -> None:
    run(world, cell)
    assert cell.outcome == ENDS[cell.kind]
