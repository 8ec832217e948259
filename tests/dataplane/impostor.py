"""Somebody who speaks to the provisioning service as a Node's ramdisk does, and is none."""

import json
import socket
from dataclasses import dataclass
from http.client import HTTPConnection

from hagane.drivers.metadata import space as netspace
from tests.dataplane.space import Guest

HEADERS = {"content-type": "application/json", "x-openstack-ironic-api-version": "1.87"}
Answer = tuple[int, str]


@dataclass(frozen=True)
class Impostor:
    """Where: a namespace and an address in it; who it says it is: a Nic's MAC, a Node's id."""

    space: str
    address: str
    mac: str
    service: str
    node_id: str

    def get(self, path: str, *, source: Guest | None = None) -> Answer:
        return self._ask("GET", path, None, source)

    def beat(self, node_id: str, token: str | None, *, source: Guest | None = None) -> Answer:
        """A heartbeat."""
        body = {"callback_url": f"http://{self.address}:9999", "agent_version": "9.9.0"}
        return self._ask(
            "POST", f"/baremetal/v1/heartbeat/{node_id}", body | ({"agent_token": token} if token else {}), source
        )

    def _ask(self, method: str, path: str, body: dict[str, str] | None, source: Guest | None) -> Answer:
        """Answers are few hundred bytes: what is larger is not read to its end."""
        space, address = (source.space, source.ip) if source is not None else (self.space, self.address)
        link = HTTPConnection(self.service, timeout=10)
        link.sock = netspace.inside(space, lambda: socket.create_connection((self.service, 80), 10, (address, 0)))
        try:
            link.request(method, path, json.dumps(body) if body is not None else None, HEADERS)
            answer = link.getresponse()
            return answer.status, answer.read(100_000).decode(errors="replace")
        finally:
            link.close()
