"""Real machines on a real cloud: ordered through the API, known by what they say on console and ssh."""

import base64
import subprocess
from pathlib import Path
from typing import Any

from openstack.exceptions import NotFoundException

from hagane.lab import guest
from tests.dataplane.cloud import until
from tests.dataplane.guestboot import keypair
from tests.dataplane.tenant import Tenant

READY = "HAGANE-GUEST-READY"
BOOT = 90.0  # seconds that a boot may take on a machine that is busy with other things; alone it takes six
OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes",
           "ConnectTimeout=3", "ServerAliveInterval=3", "ServerAliveCountMax=2")  # fmt: skip


class Servers:
    """A tenant's Servers, with a key and an image to make them of. `end` deletes all of it."""

    def __init__(self, tenant: Tenant, folder: Path) -> None:
        self.tenant, self.api, self._cloud = tenant, tenant.conn.compute, tenant.cloud
        self._key, public = keypair(folder)
        self.keypair = self.api.create_keypair(name=f"key-{folder.name}", public_key=public)
        self.flavor = self.api.find_flavor("m1.nano")
        self.image = self.upload("guest", guest.build().path)
        self._made: list[str] = []
        self.images = [self.image]
        self._floating: dict[str, str] = {}

    def upload(self, name: str, file: Path) -> Any:
        with file.open("rb") as data:
            return self.tenant.conn.image.create_image(
                name=name, disk_format="qcow2", container_format="bare", data=data, validate_checksum=False
            )

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(self, name: str, network: Any, group: Any, *, host: str = "", user_data: str = "", **more: Any) -> Any:
        """A Server as it is when the order is answered."""
        order: dict[str, Any] = {
            "name": name, "image_id": self.image.id, "flavor_id": self.flavor.id, "key_name": self.keypair.name,
            "networks": [{"uuid": network.id}], "security_groups": [{"name": group.id}],
        }  # fmt: skip
        if user_data:
            order["user_data"] = base64.b64encode(user_data.encode()).decode()
        if host:
            order["availability_zone"] = f"nova:{host}"
        made = self.api.create_server(**(order | more))
        self._made.append(made.id)
        return made

    def active(self, server: Any, seconds: float = 60.0) -> Any:
        return self.status(server, "ACTIVE", seconds)

    def status(self, server: Any, wanted: str, seconds: float = 60.0) -> Any:
        """The Server when it has this status and nothing is being done about it. One in error fails at once."""

        def look() -> Any:
            now = self.api.get_server(server.id)
            if now.status == "ERROR" and wanted != "ERROR":
                raise RuntimeError(f"{now.name} is in ERROR: {now.fault}")
            return now if now.status == wanted and now.task_state is None else None

        return until(look, seconds, f"{server.name} is {wanted}")

    def delete(self, *servers: Any, seconds: float = 60.0) -> None:
        """Deleted, and gone."""
        for server in servers:
            self.api.delete_server(server.id)
        for server in servers:
            until(lambda server=server: self.gone(server), seconds, f"{server.name} is gone")  # type: ignore[misc]

    def gone(self, server: Any) -> bool:
        try:
            self.api.get_server(server.id)
        except NotFoundException:
            return True
        return False

    def end(self) -> None:
        left = [server for server in self.api.servers() if server.id in self._made]
        self.delete(*left)
        for image in self.images:
            self.tenant.conn.image.delete_image(image, ignore_missing=True)
        self.api.delete_keypair(self.keypair)

    # -- what they say ---------------------------------------------------------------------------------------------

    def port(self, server: Any) -> Any:
        return next(self.tenant.api.ports(device_id=server.id))

    def fixed(self, server: Any) -> str:
        return next(f["ip_address"] for f in self.port(server).fixed_ips if ":" not in f["ip_address"])

    def address(self, server: Any) -> str:
        """Its floating IP, made when it is first asked for."""
        if server.id not in self._floating:
            made = self.tenant.api.create_ip(floating_network_id=self.tenant.public.id, port_id=self.port(server).id)
            self._floating[server.id] = made.floating_ip_address
        return self._floating[server.id]

    def forget(self, server: Any) -> None:
        """Give back its floating IP, if it has one."""
        if address := self._floating.pop(server.id, None):
            self.tenant.api.delete_ip(self.tenant.api.find_ip(address))

    def console(self, server: Any) -> str:
        return str(self.api.get_server_console_output(server.id)["output"])

    def booted(self, server: Any, *, times: int = 1, seconds: float = BOOT) -> str:
        """The line with which the guest says that it is up, when it has said so so many times."""

        def look() -> str | None:
            lines = [line for line in self.console(server).splitlines() if READY in line]
            return lines[-1] if len(lines) >= times else None

        return until(look, seconds, f"{server.name} has booted {times} times") or ""

    def ssh(self, server: Any, command: str, *, seconds: float = 20.0) -> str:
        """A command in the guest; AssertionError if it fails."""
        argv = ["ssh", "-i", str(self._key), *(f"-o{o}" for o in OPTIONS), f"root@{self.address(server)}", command]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{command!r} in {server.name}: no answer in {seconds:g} s") from error
        assert done.returncode == 0, f"{command!r} in {server.name}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def reached(self, server: Any, command: str = "true", seconds: float = BOOT) -> str:
        """The same, tried until ssh gets in."""
        found: list[str] = []
        until(lambda: found.append(self.ssh(server, command)) or True, seconds, f"ssh into {server.name}")
        return found[-1]
