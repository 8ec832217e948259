"""Raw HTTP with a system token and the newest microversion."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support import Running

LATEST = {"X-OpenStack-Ironic-API-Version": "1.115"}


@pytest.fixture(scope="module")
def metal(cloud: Running) -> Iterator[httpx.Client]:
    headers = LATEST | {"X-Auth-Token": cloud.token(system={"all": True})}
    with httpx.Client(base_url=cloud.url + "/baremetal/v1", headers=headers) as client:
        yield client
