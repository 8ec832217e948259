"""The wiring: which APIs there are, which reconcilers, which tables. Read this first.

config ─▶ store ─▶ Cloud ─▶ services (APIs) ─▶ Application (ASGI)
                      └───▶ reconcilers ─▶ Engine
"""

from collections.abc import Callable

from hagane.api import metrics
from hagane.api.asgi import Application, health
from hagane.api.service import Service
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.state.allocation import ALLOCATION
from hagane.state.database import open_database
from hagane.state.event import EVENT
from hagane.state.migrate import migrate
from hagane.state.table import Table
from hagane.state.work import WORK

APIS: tuple[Callable[[Cloud], Service], ...] = ()
"""Each takes the Cloud and returns its Service with all routes."""

TABLES: tuple[Table, ...] = (WORK, ALLOCATION, EVENT)
"""Every table, for the schema (scripts/schema.py) and the test that compares it with the migrations."""


async def open_cloud(config: Config) -> Cloud:
    """Open the store, bring it to the newest schema, and return the Cloud. Raises Unavailable."""
    db = await open_database(config.database_url)
    await migrate(db)
    return Cloud(config, db)
