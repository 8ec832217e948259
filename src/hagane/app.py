"""The wiring: which APIs there are, which parts watch the world, which tables. Read this first.

config ─▶ store ─▶ Cloud ─▶ APIS (routes) ─▶ Application (ASGI)
                     └────▶ PARTS (reconcilers) ─▶ Engine
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator, Iterable

import uvicorn

from hagane.api import faults, metrics, openapi
from hagane.api.asgi import Application, Authenticate, NoPolicy, health
from hagane.api.service import Service
from hagane.baremetal import service as baremetal
from hagane.cloud import Cloud
from hagane.compute import service as compute
from hagane.config import Config
from hagane.identity import service as identity
from hagane.image import service as image
from hagane.network import service as network
from hagane.operate import seed
from hagane.operate import service as operate
from hagane.placement import service as placement
from hagane.reconcile.devices import Devices, Part
from hagane.reconcile.engine import Engine
from hagane.reconcile.host import Hosts
from hagane.reconcile.image import ImageSweeper
from hagane.reconcile.metadata import MetadataPart
from hagane.reconcile.node import NodePart
from hagane.reconcile.ovn.part import NetworkPart
from hagane.reconcile.provision import ProvisionPart
from hagane.reconcile.rack import RackPart
from hagane.reconcile.volume_part import VolumePart
from hagane.state.allocation import ALLOCATION
from hagane.state.database import open_database
from hagane.state.event import EVENT
from hagane.state.migrate import migrate
from hagane.state.secret import Secrets
from hagane.state.table import Table
from hagane.state.work import WORK, release_all
from hagane.volume import service as volume

log = logging.getLogger(__name__)

APIS: tuple[Callable[[Cloud], Service], ...] = (
    identity.service,
    image.service,
    network.service,
    placement.service,
    compute.service,
    baremetal.service,
    volume.service,
    operate.service,
)
"""Each takes the Cloud and returns its Service with all routes."""

PARTS: tuple[Callable[[Cloud], Part], ...] = (
    ImageSweeper, NetworkPart, Hosts, MetadataPart, ProvisionPart, RackPart, NodePart, VolumePart,
)  # fmt: skip
"""Each takes the Cloud (which provides Devices) and returns what watches and moves one kind of device."""

TABLES: tuple[Table, ...] = (
    WORK,
    ALLOCATION,
    EVENT,
    seed.SEEDED,
    *identity.TABLES,
    *image.TABLES,
    *network.TABLES,
    *placement.TABLES,
    *compute.TABLES,
    *baremetal.TABLES,
    *volume.TABLES,
)
"""Every table, for the schema (scripts/schema.py) and the test that compares it with the migrations."""


class Hagane:
    """One process: start it, serve with it, stop it. Machines and networks stay when it stops."""

    def __init__(self, config: Config, devices: Devices, authenticate: Authenticate) -> None:
        self.config, self._devices, self._authenticate = config, devices, authenticate
        self.cloud: Cloud
        self.app: Application
        self.engine: Engine
        self._parts: list[Part] = []

    async def start(self) -> None:
        """Open the store, connect the devices, begin to reconcile. Raises Unavailable when the store cannot be used."""
        db = await open_database(self.config.database_url)
        await migrate(db)
        self.cloud = Cloud(self.config, db)
        self.cloud.provide(Devices, self._devices)
        self.cloud.provide(Secrets, Secrets(self.config.state))
        self._parts = [make(self.cloud) for make in PARTS]
        self.app = Application(self.cloud, self._services(), self._authenticate)
        self.cloud.provide(Application, self.app)
        reconcilers = [reconciler for part in self._parts for reconciler in part.reconcilers]
        name = f"{socket.gethostname()}:{os.getpid()}"
        self.engine = Engine(db, reconcilers, name=name, lease=self.config.workers_lease)
        self.cloud.provide(Engine, self.engine)
        if db.dialect == "sqlite":  # we are its only process: whoever held work before us was killed
            await release_all(db)
        await asyncio.gather(*(part.start() for part in self._parts))
        await self.engine.start()

    def _services(self) -> Iterable[Service]:
        services = [make(self.cloud) for make in APIS]
        own = [*health(self.cloud), metrics.ROUTE, *openapi.routes(services)]
        return [Service("", "", NoPolicy(), faults.plain, routes=own), *services]

    async def meet_hosts(self, timeout: float = 15.0) -> None:
        """Wait until every Host has answered once in this cloud's life, or `timeout` seconds: a Server that is ordered
        before would find no Host at all. Hosts that answered in an earlier life are not waited for."""
        until = asyncio.get_running_loop().time() + timeout
        while asyncio.get_running_loop().time() < until:
            names = await self.cloud.db.fetch_tuples("SELECT name FROM host WHERE seen_at IS NOT NULL")
            if set(self._devices.hosts) <= {row[0] for row in names}:
                return
            await asyncio.sleep(0.05)
        log.warning("not every Host has answered yet; new Servers go to those that have")

    async def stop(self) -> None:
        """Finish what runs, give back the leases by letting them go, close the devices, then the store."""
        await self.engine.stop()
        await asyncio.gather(*(part.stop() for part in self._parts), return_exceptions=True)
        await self.cloud.db.close()

    def server(self, listen: str | None = None, ready: Callable[[], None] = lambda: None) -> uvicorn.Server:
        """An HTTP server for this process; `await server.serve()` runs until a signal ends it. It calls `ready` when it
        listens."""
        host, _, port = (listen or self.config.listen).rpartition(":")
        settings = uvicorn.Config(
            self.app, host=host.strip("[]"), port=int(port), http="httptools", ws="websockets-sansio",
            lifespan="off", log_config=None, access_log=False, server_header=False, date_header=False,
            timeout_graceful_shutdown=5, timeout_keep_alive=60, backlog=2048,
            ssl_certfile=self.config.tls_certificate or None, ssl_keyfile=self.config.tls_key or None,
        )  # fmt: skip
        return HttpServer(settings, ready)


class HttpServer(uvicorn.Server):
    """SIGINT and SIGTERM end `serve`, and nothing else: uvicorn alone would raise them again when it has ended, and so
    end the process before the rest of it is stopped. A second signal of the kind does end the process at once."""

    def __init__(self, settings: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(settings)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
