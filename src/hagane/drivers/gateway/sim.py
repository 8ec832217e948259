"""A simulated gateway, with a switch for its power."""

from collections.abc import Callable

from hagane.drivers.gateway.base import GatewayAccess, Patch, Patches
from hagane.errors import Unavailable


class SimGateway:
    """`power(on)` cuts the connection, or brings it back."""

    def __init__(self, access: GatewayAccess) -> None:
        self._access = access
        self._patches: dict[str, Patch] = {}
        self._on = True
        self._changed: Callable[[], None] = lambda: None
        self.transactions = 0

    async def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        changed()

    @property
    def connected(self) -> bool:
        return self._on

    @property
    def reason(self) -> str:
        return "" if self._on else "it is switched off"

    @property
    def chassis(self) -> str:
        return self._access.name if self._on else ""

    def patches(self) -> dict[str, Patch]:
        return dict(self._patches) if self._on else {}

    async def apply(self, desired: Patches) -> int:
        if not self._on:
            raise Unavailable(f"Gateway {self._access.name} does not answer: {self.reason}.")
        differing = {key for key in {*desired, *self._patches} if desired.get(key) != self._patches.get(key)}
        if differing:
            self.transactions += 1
            self._patches = dict(desired)
        return len(differing)

    async def close(self) -> None:
        return

    def power(self, *, on: bool) -> None:
        self._on = on
        self._changed()

    def meddle(self, key: str, patch: Patch | None) -> None:
        """Somebody else changes a patch, or (None) takes it away."""
        if patch is None:
            self._patches.pop(key, None)
        else:
            self._patches[key] = patch
        self._changed()
