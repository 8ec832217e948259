"""What several suites of real devices share."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.conformance.hosts import RealPlace


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPlace]:
    """The one Host of all suites: its daemons are found again by their names."""
    real = RealPlace(tmp_path_factory.mktemp("hgconf"))
    asyncio.run(real.up())
    yield real
    asyncio.run(real.down())
