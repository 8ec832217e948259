"""The metadata service of a simulated cloud: nothing is plugged; `ask` is what a machine would do."""

from collections.abc import Sequence

from hagane.drivers.metadata.base import Answer, Endpoint, Question, Reply
from hagane.errors import Unavailable


class SimMetadata:
    """A MetadataDriver that keeps what it was told."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.endpoints: dict[str, Endpoint] = {}

    async def apply(self, endpoints: Sequence[Endpoint]) -> dict[str, str]:
        self.endpoints = {endpoint.network_id: endpoint for endpoint in endpoints}
        return {}

    def ear(self, network_id: str) -> tuple[str, str] | None:
        return None

    async def close(self) -> None:
        self.endpoints = {}

    async def ask(self, network_id: str, client: str, target: str, *, method: str = "GET", body: bytes = b"") -> Reply:
        """A request from `client` on a network. Raises Unavailable where nobody would answer."""
        if network_id not in self.endpoints:
            raise Unavailable(f"Nothing answers at 169.254.169.254 on network {network_id}.")
        return await self._answer(Question(network_id, client, method, target, {}, body))
