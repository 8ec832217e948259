"""A running cloud for tests: this process, a loopback port, SQLite in a temporary folder, simulated devices."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openstack

from hagane.app import Hagane
from hagane.config import Config, Simulation
from hagane.serve import bootstrap, make, simulated

T = TypeVar("T")
PASSWORD = "correct-horse"


class Running:
    """A cloud in a thread of its own, so that blocking clients (openstacksdk, subprocesses) can talk to it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.hagane: Hagane
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="cloud", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(30)
        if self._error is not None:
            raise self._error

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self.hagane = make(self.config, simulated(self.config))
        await self.hagane.start()
        self._server = self.hagane.server("127.0.0.1:0")
        serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0.005)
            if serving.done():
                await serving
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        await bootstrap(self.hagane.cloud, PASSWORD, self.url)
        await self.hagane.meet_hosts()
        self._ready.set()
        await serving
        await self.hagane.stop()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._loop.close()

    def run(self, make_coroutine: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine inside the cloud's event loop: `cloud.run(lambda: cloud.hagane.engine.settled())`."""
        return asyncio.run_coroutine_threadsafe(make_coroutine(), self._loop).result(60)

    def settle(self) -> None:
        self.run(lambda: self.hagane.engine.settled())

    def connect(self, **auth: Any) -> openstack.connection.Connection:
        """An openstacksdk connection; admin of the project admin unless `auth` says otherwise."""
        who = {"username": "admin", "password": PASSWORD, "project_name": "admin",
               "user_domain_name": "Default", "project_domain_name": "Default"} | auth  # fmt: skip
        who = {key: value for key, value in who.items() if value is not None}
        return openstack.connect(auth_url=f"{self.url}/identity/v3", region_name="RegionOne", load_yaml_config=False,
                                 load_envvars=False, auth=who, app_name="hagane-tests")  # fmt: skip

    def token(self, **scope: Any) -> str:
        """A token of the admin, scoped to the project admin or as `scope` says."""
        user = {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}},
                "scope": scope or {"project": {"name": "admin", "domain": {"id": "default"}}}}  # fmt: skip
        answer = httpx.post(f"{self.url}/identity/v3/auth/tokens", json={"auth": auth})
        answer.raise_for_status()
        return answer.headers["x-subject-token"]

    def environment(self, **more: str) -> dict[str, str]:
        """OS_* variables for the `openstack` command."""
        return {"OS_AUTH_URL": f"{self.url}/identity/v3", "OS_USERNAME": "admin", "OS_PASSWORD": PASSWORD,
                "OS_PROJECT_NAME": "admin", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default",
                "OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": "RegionOne"} | more  # fmt: skip


@contextmanager
def running_cloud(folder: Path, **settings: Any) -> Iterator[Running]:
    """Start a simulated cloud in `folder`; machines boot at once unless `settings` say otherwise."""
    simulation = Simulation(delays=False)
    config = Config(**({"state": folder, "sim": True, "simulation": simulation, "bcrypt_cost": 4} | settings))
    cloud = Running(config)
    cloud.start()
    try:
        yield cloud
    finally:
        cloud.stop()
