"""What the network tests share: a client that says what it expects, and the things most tests begin with."""

from itertools import count
from typing import Any

import httpx

ROOT = "/network/v2.0"
ZERO = "00000000-0000-4000-8000-000000000000"
_numbers = count(10)


class Net:
    """The network API as one person sees it. Methods fail when the status is not the expected one."""

    def __init__(self, http: httpx.Client, project_id: str = "") -> None:
        self.http, self.project_id = http, project_id

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        answer = self.http.request(method, ROOT + path, json=body, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, **query: Any) -> Any:
        return self.ask("GET", path, params=query)

    def make(self, kind: str, **values: Any) -> dict[str, Any]:
        plural = {"rbac_policy": "rbac-policies"}.get(kind, kind.replace("_", "-") + "s")
        return dict(self.ask("POST", f"/{plural}", {kind: values}, 201)[kind])

    def change(self, kind: str, thing: dict[str, Any], **values: Any) -> dict[str, Any]:
        return dict(self.ask("PUT", f"/{kind.replace('_', '-')}s/{thing['id']}", {kind: values})[kind])

    def show(self, kind: str, thing: dict[str, Any]) -> dict[str, Any]:
        return dict(self.get(f"/{kind.replace('_', '-')}s/{thing['id']}")[kind])

    def delete(self, kind: str, thing: dict[str, Any]) -> None:
        self.ask("DELETE", f"/{kind.replace('_', '-')}s/{thing['id']}", status=204)

    def refused(self, method: str, path: str, body: Any, status: int, error: str, text: str = "", **more: Any) -> str:
        """The message of a refusal, whose status, type and (part of the) text are as expected."""
        fault = self.ask(method, path, body, status, **more)["NeutronError"]
        assert set(fault) == {"type", "message", "detail"}
        assert fault["type"] == error, fault
        assert text in fault["message"], fault
        return str(fault["message"])

    def network(self, **values: Any) -> dict[str, Any]:
        return self.make("network", **({"name": "n"} | values))

    def subnet(self, network: dict[str, Any], cidr: str = "", **values: Any) -> dict[str, Any]:
        cidr = cidr or f"10.{next(_numbers)}.0.0/24"
        version = 6 if ":" in cidr else 4
        return self.make("subnet", network_id=network["id"], cidr=cidr, ip_version=version, **values)

    def wired(self, cidr: str = "", **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A network with a subnet."""
        network = self.network()
        return network, self.subnet(network, cidr, **values)

    def port(self, network: dict[str, Any], **values: Any) -> dict[str, Any]:
        return self.make("port", network_id=network["id"], **values)


def external(admin: Net, cidr: str, **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An external network with a subnet."""
    network = admin.make("network", name="ext", **({"router:external": True} | values))
    return network, admin.subnet(network, cidr, enable_dhcp=False)
