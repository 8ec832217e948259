"""The cloud in which the stories play, looked at from outside: what a story leaves behind is found in the database."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import yaml

from tests.outside import Process

SECONDS = 20.0  # until the last trace must be gone
KEPT = frozenset(
    {"event", "work", "identity_revocation", "network_freed", "network_range", "seeded", "migration", "server_past"}
)
"""Tables of what happened, which outlive what it happened to."""

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGB1fBYGWRTTzsnTGBTkKlZRvlx9tJzYyuO5X5qXHN3y smith@forge"
FINGERPRINT = "99:6d:4c:10:68:13:dd:28:a2:15:d9:af:fe:7b:0b:d3"
CONTENT = b"A disk that nothing boots from. " * 32768  # one MiB
SMITH = "hammer-and-tongs"  # the password of the tenant


class Place:
    """A running cloud and its files."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def admin(self) -> dict[str, Any]:
        """The administrator's `auth`, as the cloud has written it down."""
        return dict(yaml.safe_load((self.process.state / "clouds.yaml").read_text())["clouds"]["hagane"]["auth"])

    def smith(self) -> dict[str, Any]:
        """The `auth` of the tenant that every story makes."""
        who = {"username": "smith", "password": SMITH, "project_name": "forge"}
        return self.admin | who

    def clouds_of(self, folder: Path) -> Path:
        """A `clouds.yaml` with two entries: `admin` and `smith`."""
        entries = {
            name: {"auth": auth, "region_name": "RegionOne"}
            for name, auth in (("admin", self.admin), ("smith", self.smith()))
        }
        file = folder / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": entries}))
        return file

    def image(self, folder: Path) -> Path:
        """The file that becomes an image."""
        file = folder / "image.raw"
        file.write_bytes(CONTENT)
        return file

    def rows(self) -> set[str]:
        """Table and key of every row, allocations among them."""
        found = set()
        database = self.process.state / "hagane.db"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
            tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                if table not in KEPT and not table.startswith("sqlite_"):
                    columns = [column[1] for column in store.execute(f"PRAGMA table_info({table})") if column[5]]
                    rows = store.execute(f"SELECT {','.join(columns)} FROM {table}")
                    found |= {f"{table} {'/'.join(map(str, row))}" for row in rows}
        store.close()
        return found

    def files(self) -> set[str]:
        """Images, disks, volumes: whatever the cloud keeps beside its database."""
        folders = (folder for folder in self.process.state.iterdir() if folder.is_dir())
        return {str(file) for folder in folders for file in folder.rglob("*") if file.is_file()}

    def look(self) -> set[str]:
        return self.rows() | self.files()

    def nothing_left(self, before: set[str]) -> None:
        """Everything that came since `before` is gone, and no difference between rows and world is found."""
        until = time.monotonic() + SECONDS
        while left := self.look() - before:
            assert time.monotonic() < until, sorted(left)
            time.sleep(0.1)
        done = self.process.command("doctor")
        assert done.returncode == 0, done.stdout + done.stderr
