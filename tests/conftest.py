"""Fixtures that many tests share."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

PG_BIN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of the tests' own on a unix socket; yields its socket folder."""
    folder = (
        Path("/tmp") / f"hagane-pg-{uuid4().hex[:8]}"
    )  # short: socket paths are limited, and postgres must reach it
    folder.mkdir(mode=0o755)
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    options = "-c listen_addresses='' -c unix_socket_directories=" + str(folder) + " -c fsync=off"
    run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*user, PG_BIN / "initdb", "-D", data, "-U", "hagane", "--locale=C", "-E", "UTF8"], **run)  # type: ignore[call-overload]
    subprocess.run([*user, PG_BIN / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start"], **run)  # type: ignore[call-overload]
    yield str(folder)
    subprocess.run([*user, PG_BIN / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **run)  # type: ignore[call-overload]
    shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database."""
    name = f"t{uuid4().hex[:12]}"
    psql = ["psql", "-h", postgres_server, "-U", "hagane", "-d", "postgres", "-qc"]
    subprocess.run([*psql, f"CREATE DATABASE {name}"], check=True)
    yield f"postgresql://hagane@/{name}?host={postgres_server}"
    subprocess.run([*psql, f"DROP DATABASE {name} WITH (FORCE)"], check=True)
