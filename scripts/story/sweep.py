"""Remove what an interrupted story left behind: everything in its projects, then projects and users. Untold.

The same commands as any administrator has; what is not there is no error.
"""

import time

from story.client import Client
from story.stage import ADMIN, DEMO, OTHER

SECONDS = 60.0


def sweep(client: Client) -> list[str]:
    """Remove the projects of a former story; returns their names."""
    _lines(client, "security", "group", "list", "-c", "ID")  # a project's first look makes its default one: be it now
    listed = _lines(client, "project", "list", "-c", "Name")
    found = [name for name in (DEMO, OTHER) if name in listed]
    for name in found:
        _servers(client, name)
        _volumes(client, name)
        _networks(client, name)
        for image in _lines(client, "image", "list", "--project", name, "-c", "ID"):
            client.tried(ADMIN, "image", "delete", image)
        client.tried(ADMIN, "keypair", "delete", "story", "--user", name)
        empty(client, name)
        client.tried(ADMIN, "project", "delete", name)
    users = _lines(client, "user", "list", "-c", "Name")
    for name in (DEMO, OTHER):
        if name in users:
            client.tried(ADMIN, "user", "delete", name)
    return found


def empty(client: Client, name: str) -> None:
    """Remove the security groups that a project got by itself; only an administrator may."""
    for group in _lines(client, "security", "group", "list", "--project", name, "-c", "ID"):
        client.tried(ADMIN, "security", "group", "delete", group)


def _servers(client: Client, name: str) -> None:
    words = ("server", "list", "--all-projects", "--project", name, "-c", "ID")
    until = time.monotonic() + SECONDS
    if servers := _lines(client, *words):
        client.tried(ADMIN, "server", "delete", "--all-projects", *servers)
    while _lines(client, *words) and time.monotonic() < until:
        time.sleep(0.3)


def _volumes(client: Client, name: str) -> None:
    words = ("volume", "list", "--all-projects", "--project", name, "-c", "ID")
    until = time.monotonic() + SECONDS
    if volumes := _lines(client, *words):
        client.tried(ADMIN, "volume", "delete", *volumes)
    while _lines(client, *words) and time.monotonic() < until:
        time.sleep(0.3)


def _networks(client: Client, name: str) -> None:
    mine = ("--project", name, "-c", "ID")
    for address in _lines(client, "floating", "ip", "list", *mine):
        client.tried(ADMIN, "floating", "ip", "delete", address)
    for router in _lines(client, "router", "list", *mine):
        for port in _lines(client, "port", "list", "--router", router, "-c", "ID"):
            client.tried(ADMIN, "router", "remove", "port", router, port)
        client.tried(ADMIN, "router", "delete", router)
    for port in _lines(client, "port", "list", *mine):
        client.tried(ADMIN, "port", "delete", port)
    for network in _lines(client, "network", "list", *mine):
        client.tried(ADMIN, "network", "delete", network)


def _lines(client: Client, *words: str) -> list[str]:
    return client.ask(ADMIN, *words, "-f", "value").split()
