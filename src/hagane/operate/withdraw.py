"""`hagane enroll --remove FILE`: take a rack out of the cloud again: its Nodes, itself, then what nothing else needs.

A Node that somebody uses is not taken away: the bare-metal API says why, and the run ends there; the next one goes on.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hagane.baremetal.service_port import GROUP_NAME
from hagane.config import Config
from hagane.errors import NotFound
from hagane.operate.client import Session
from hagane.operate.enroll import V1, V2, VERSION
from hagane.operate.enroll_file import load


def withdraw(config: Config, path: Path) -> Iterator[str]:
    """Does it, and says what is gone, one line each. Raises HaganeError with the reason for what stays."""
    wanted = load(path)
    session = Session(config)
    for node in wanted.node:
        done = _gone(session, f"{V1}/nodes/{quote(node.name, safe='')}", VERSION)
        yield f"node {node.name} {done}"
    name = wanted.rack.name
    done = _gone(session, f"/hagane/v1/racks/{quote(name, safe='')}")
    yield f"rack {name} {done}"
    if not session.call("GET", "/hagane/v1/racks")["racks"]:
        yield from _networks(session, wanted.provisioning.network, wanted.storage.network)


def _gone(session: Session, path: str, headers: dict[str, str] | None = None) -> str:
    try:
        session.call("DELETE", path, headers=headers)
    except NotFound:
        return "was not there"
    return "removed"


def _networks(session: Session, *names: str) -> Iterator[str]:
    """After the last rack: the networks of ramdisks and of volumes, and their security groups."""
    for name in names:
        mine = f"name={quote(name, safe='')}&project_id={session.project_id}"
        for network in _listed(session, "networks", mine):
            done = _gone(session, f"{V2}/networks/{network['id']}")
            yield f"network {name} {done}"
    mine = f"name={GROUP_NAME}&project_id={session.project_id}"
    with contextlib.suppress(NotFound):
        for group in _listed(session, "security_groups", mine):
            _gone(session, f"{V2}/security-groups/{group['id']}")


def _listed(session: Session, what: str, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = session.call("GET", f"{V2}/{what.replace('_', '-')}?{query}")[what]
    return found
