"""The process dies at each call to a Host, before and after it was done; the next one goes on from rows and world.

Death is played by an error that nobody catches: the work ends where it was, writes nothing, and its lease runs out.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hagane.reconcile import engine
from tests.scenarios.server_world import World, world
from tests.scenarios.test_server_faults import SCENARIOS, end, honest, operations, play, status


class Death(BaseException):
    """Not to be caught."""


@pytest.fixture(autouse=True)
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases run out soon, and nobody mourns."""
    monkeypatch.setattr(engine, "POLL", 0.05)


def kill(w: World, operation: str, *, after: bool) -> None:
    """Die at the next such call to any Host, once in all."""
    struck = False

    def strike(original: Any) -> Any:
        def check(name: str, machine_id: str | None = None) -> None:
            nonlocal struck
            original(name, machine_id)
            if name == operation and not struck:
                struck = True
                raise Death

        return check

    for host in w.hosts.values():
        moment = "after" if after else "before"
        host.faults = _Deathly(host.faults, moment, strike(getattr(host.faults, moment)))  # type: ignore[assignment]


class _Deathly:
    """The Host's faults, with one moment replaced."""

    def __init__(self, faults: Any, moment: str, check: Any) -> None:
        self._faults = faults
        setattr(self, moment, check)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._faults, name)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_death_at_every_step(name: str, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: None)
    async with world(tmp_path, lease=0.15) as w:
        faults = {host: driver.faults for host, driver in w.hosts.items()}
        for operation in await operations(w, name):
            for after in (False, True):
                server_id, shown = await play(w, name, lambda o=operation, a=after: kill(w, o, after=a))  # type: ignore[misc]
                for host, driver in w.hosts.items():
                    driver.faults = faults[host]
                assert status(shown) == SCENARIOS[name][2], (operation, after, shown)
                if shown:
                    await honest(w, server_id, shown)
                await end(w, server_id)
