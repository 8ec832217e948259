"""The provisioning service of a simulated cloud: nothing is plugged; `ask` is what a machine would do.

Agents that tests start on loopback are reached by the address that their Node has in its network (`agents`).
"""

import asyncio
from collections.abc import Sequence

from hagane.drivers.metadata.base import Answer, Endpoint, Question, Reply
from hagane.drivers.provision.base import Dial
from hagane.errors import Unavailable


class SimProvision:
    """A ProvisionDriver that keeps what it was told."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.endpoints: dict[str, Endpoint] = {}
        self.agents: dict[tuple[str, int], int] = {}  # (address, port) in a network -> port on loopback

    async def apply(self, endpoints: Sequence[Endpoint]) -> dict[str, str]:
        self.endpoints = {endpoint.network_id: endpoint for endpoint in endpoints}
        return {}

    async def close(self) -> None:
        self.endpoints = {}

    def space(self, network_id: str) -> str:
        return f"sim-{network_id[:8]}"

    def dial(self, network_id: str) -> Dial:
        async def connect(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            known = self.agents.get((address, port))
            if known is None or network_id not in self.endpoints:
                raise ConnectionRefusedError(f"Nobody listens at {address}:{port}.")
            return await asyncio.open_connection("127.0.0.1", known)

        return connect

    async def ask(
        self, network_id: str, client: str, target: str, *, method: str = "GET", body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Reply:  # fmt: skip
        """A request from `client` on a network. Raises Unavailable where nobody would answer."""
        if network_id not in self.endpoints:
            raise Unavailable(f"No provisioning service answers on network {network_id}.")
        return await self._answer(Question(network_id, client, method, target, headers or {}, body))
