"""What tests of the compute API need before they can order: an image, flavors, a network, people."""

import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.people import Person, person
from tests.support import Running

V21 = "/compute/v2.1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGB1fBYGWRTTzsnTGBTkKlZRvlx9tJzYyuO5X5qXHN3y alice@host"


@dataclass
class Shop:
    """A furnished cloud and a customer."""

    cloud: Running
    admin: httpx.Client
    alice: Person
    image: str
    flavor: str
    network: str

    def call(
        self, method: str, path: str, version: str = "2.96", *, who: httpx.Client | None = None, **more: Any
    ) -> httpx.Response:
        """A request of Alice's, or of `who`, in a microversion."""
        headers = {"OpenStack-API-Version": f"compute {version}"}
        return (who or self.alice.http).request(method, V21 + path, headers=headers, **more)

    def order(self, version: str = "2.96", **more: Any) -> httpx.Response:
        body = {"name": "web", "imageRef": self.image, "flavorRef": self.flavor, "networks": "none"} | more
        if version < "2.37" and body["networks"] == "none":
            del body["networks"]
        top = {name: body.pop(name) for name in list(body) if name.startswith("os:")}
        return self.call("POST", "/servers", version, json={"server": body} | top)

    def make(self, **more: Any) -> str:
        """A Server that runs; its id."""
        answer = self.order(**more)
        assert answer.status_code == 202, answer.text
        server_id = str(answer.json()["server"]["id"])
        self.wait(server_id)
        return server_id

    def show(self, server_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/servers/{server_id}").json()["server"])

    def wait(self, server_id: str, status: str = "ACTIVE", *, who: httpx.Client | None = None) -> dict[str, Any]:
        """The Server when it has the status and nothing is being done about it."""
        until = time.monotonic() + 15
        while True:
            answer = self.call("GET", f"/servers/{server_id}", who=who)
            if status == "gone" and answer.status_code == 404:
                return {}
            shown = answer.json().get("server", {})
            if shown.get("status") == status and shown["OS-EXT-STS:task_state"] is None:
                return dict(shown)
            assert time.monotonic() < until, answer.text
            time.sleep(0.01)

    def act(self, server_id: str, **action: Any) -> httpx.Response:
        return self.call("POST", f"/servers/{server_id}/action", json=action)

    def delete(self, server_id: str) -> None:
        assert self.call("DELETE", f"/servers/{server_id}").status_code == 204
        self.wait(server_id, "gone")


def shop(cloud: Running, http: httpx.Client) -> Shop:
    """An image, a flavor of 64 MB, and Alice with a network of her own."""
    alice = person(cloud)
    flavor = {"name": "small", "ram": 64, "vcpus": 1, "disk": 1, "id": "small"}
    assert http.post(f"{V21}/flavors", json={"flavor": flavor}).status_code == 200
    image = upload(http, name="busybox", visibility="public")
    network = alice.http.post("/network/v2.0/networks", json={"network": {"name": "net"}}).json()["network"]["id"]
    subnet = {"network_id": network, "cidr": "10.7.0.0/24", "ip_version": 4}
    assert alice.http.post("/network/v2.0/subnets", json={"subnet": subnet}).status_code == 201
    return Shop(cloud, http, alice, image, "small", network)


def upload(client: httpx.Client, size: int = 4096, **more: Any) -> str:
    body = {"disk_format": "raw", "container_format": "bare"} | more
    image = client.post("/image/v2/images", json=body).raise_for_status().json()["id"]
    headers = {"Content-Type": "application/octet-stream"}
    client.put(f"/image/v2/images/{image}/file", content=b"\0" * size, headers=headers).raise_for_status()
    return str(image)


def message(answer: httpx.Response) -> str:
    """The words of a refusal."""
    return str(next(iter(answer.json().values()))["message"])
