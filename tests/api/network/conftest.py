"""The people of the network tests: an administrator, two members of different projects, and a reader."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.network.net import Net
from tests.api.people import person
from tests.support import Running


@pytest.fixture(scope="module")
def root(http: httpx.Client) -> Net:
    return Net(http)


def _net(cloud: Running, role: str = "member", project_id: str = "") -> Iterator[Net]:
    who = person(cloud, role, project_id)
    yield Net(who.http, who.project_id)
    who.http.close()


@pytest.fixture(scope="module")
def alice(cloud: Running) -> Iterator[Net]:
    yield from _net(cloud)


@pytest.fixture(scope="module")
def bob(cloud: Running) -> Iterator[Net]:
    yield from _net(cloud)


@pytest.fixture(scope="module")
def reader(cloud: Running, alice: Net) -> Iterator[Net]:
    """A reader of Alice's project."""
    yield from _net(cloud, "reader", alice.project_id)
