"""What several suites of real devices share."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.conformance.hosts import RealPlace


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPlace]:
    """The one Host of all suites that one process runs: its daemons are found again by their names."""
    name = "hgconf" + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    real = RealPlace(tmp_path_factory.mktemp(name), name)
    asyncio.run(real.up())
    yield real
    asyncio.run(real.down())
