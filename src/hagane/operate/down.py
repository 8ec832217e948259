"""`hagane down`: the process, the machines, the networks, the daemons; with `delete` the data as well."""

import asyncio
import os
import shutil
from collections.abc import Iterator

from hagane import process
from hagane.config import Config
from hagane.errors import ConfigError

MARKS = ("clouds.yaml", "keys", "hagane.db")
"""Each cloud's folder has one of these; a mistyped --state has none."""


def down(config: Config, *, delete: bool) -> Iterator[str]:
    """Stop everything of this state folder; says what it did. What is gone already is no error."""
    if process.stop(config):
        yield "The process has ended."
    if not config.sim and os.geteuid() == 0:
        from hagane.lab import machine, rack
        from hagane.operate.site import site

        place = site(config)
        asyncio.run(rack.down(place, keep_data=not delete))
        asyncio.run(machine.down(place, keep_data=not delete))
        yield "Machines, networks and daemons are gone."
    if delete and config.state.exists():
        if not any((config.state / mark).exists() for mark in MARKS):
            raise ConfigError(f"{config.state} is no folder of a cloud: nothing in it is deleted.")
        shutil.rmtree(config.state)
        yield f"The data in {config.state} is deleted."
