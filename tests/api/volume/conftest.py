"""HTTP to the block storage API of the module's cloud, in its newest microversion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.api.people import Person, person
from tests.support import Running


@dataclass
class Volumes:
    """One caller. `ask` checks the status and gives the body; things that are made are settled."""

    cloud: Running
    http: httpx.Client
    version: str = "3.70"

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, version: str = "") -> Any:
        headers = {"OpenStack-API-Version": f"volume {version or self.version}"}
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        assert answer.headers["openstack-api-version"] == headers["OpenStack-API-Version"]
        return answer.json() if answer.content else None

    def make(self, **words: Any) -> dict[str, Any]:
        """A volume, as it is when all work is done."""
        made = self.ask("POST", "/volumes", {"volume": {"size": 1} | words}, status=202)["volume"]
        return self.show(made["id"])

    def show(self, key: str) -> dict[str, Any]:
        self.cloud.settle()
        found: dict[str, Any] = self.ask("GET", f"/volumes/{key}")["volume"]
        return found

    def snapshot(self, key: str, **words: Any) -> dict[str, Any]:
        made = self.ask("POST", "/snapshots", {"snapshot": {"volume_id": key} | words}, status=202)["snapshot"]
        self.cloud.settle()
        found: dict[str, Any] = self.ask("GET", f"/snapshots/{made['id']}")["snapshot"]
        return found

    def act(self, key: str, verb: str, body: Any = None, *, status: int = 202) -> Any:
        found = self.ask("POST", f"/volumes/{key}/action", {verb: body}, status=status)
        self.cloud.settle()
        return found

    def used(self) -> dict[str, int]:
        absolute = self.ask("GET", "/limits")["limits"]["absolute"]
        return {name: number for name, number in absolute.items() if name.startswith("total") and number}


def caller(cloud: Running, token: str) -> Volumes:
    return Volumes(cloud, httpx.Client(base_url=f"{cloud.url}/volume/v3", headers={"X-Auth-Token": token}))


@pytest.fixture
def who(cloud: Running) -> Person:
    """Somebody with a project of their own."""
    return person(cloud)


@pytest.fixture
def volumes(cloud: Running, who: Person) -> Iterator[Volumes]:
    made = caller(cloud, who.token)
    yield made
    made.http.close()
    who.http.close()


@pytest.fixture
def root(cloud: Running) -> Iterator[Volumes]:
    """The administrator."""
    made = caller(cloud, cloud.token())
    yield made
    made.http.close()
