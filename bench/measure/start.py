"""How soon a cloud answers after its start, and what it needs."""

from cloud import Cloud
from report import Number


def numbers(cloud: Cloud, rounds: int = 3) -> list[Number]:
    """Restart a cloud that has a database, several times."""
    loaded = cloud.rss()
    seconds = min(cloud.restart() for _ in range(rounds))
    return [
        Number("ready after start, database present", seconds, "s", 1.5, more=False),
        Number("resident after start", cloud.rss(), "MB", 150, more=False, peer="the real services 3,600 MB"),
        Number("resident after the load above", loaded, "MB"),
    ]
