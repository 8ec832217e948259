"""One cloud for a whole test module: starting it costs less than a second, sharing it costs nothing."""

from collections.abc import Iterator

import httpx
import openstack
import pytest

from tests.api.people import Person, person
from tests.support import Running, running_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def admin(cloud: Running) -> Iterator[openstack.connection.Connection]:
    """openstacksdk as admin of the project admin."""
    connection = cloud.connect()
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def http(cloud: Running) -> Iterator[httpx.Client]:
    """Raw HTTP with an admin token."""
    with httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": cloud.token()}) as client:
        yield client


@pytest.fixture(scope="module")
def victim(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


@pytest.fixture(scope="module")
def stranger(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()
