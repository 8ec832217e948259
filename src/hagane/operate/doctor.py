"""`hagane doctor`: the machine, and every difference between rows and world, each finding with its remedy."""

import asyncio
import os

from hagane import process
from hagane.config import Config
from hagane.errors import HaganeError
from hagane.operate import client
from hagane.operate.finding import Finding


def examine(config: Config) -> list[Finding]:
    """Check the machine (for a real cloud) and the running process, if there is one."""
    found = [] if config.sim else _machine(config)
    if process.find(config) is None:
        return [*found, Finding(f"No Hagane runs from {config.state}.", "hagane up")]
    try:
        answer = client.call(config, "GET", "/hagane/v1/findings")
    except HaganeError as error:
        return [*found, Finding(f"The process does not answer: {error.message}", "Look into its log.")]
    return [*found, *(Finding(**entry) for entry in answer["findings"])]


def _machine(config: Config) -> list[Finding]:
    from hagane.lab import requirements
    from hagane.operate.site import site

    if os.geteuid() != 0:
        return [Finding("Real devices need root.", "Run as root, or use: hagane up --sim")]
    checks = asyncio.run(requirements.check(site(config)))
    return [Finding(check.what, check.remedy, bad=not check.ok) for check in checks]
