"""How soon a cloud answers after its start, and what it needs."""

from cloud import Cloud
from report import Number


class Starts:
    """Restarts of a cloud that has a database."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._seconds: list[float] = []
        self._loaded = self._fresh = 0.0  # MB

    def round(self) -> None:
        self._loaded = max(self._loaded, self._cloud.rss())
        self._seconds.append(self._cloud.restart())
        self._fresh = self._cloud.rss()

    def numbers(self) -> list[Number]:
        return [
            Number("ready after start, database present", min(self._seconds), "s", 1.5, more=False),
            Number("resident after start", self._fresh, "MB", 150, more=False, peer="the real services 3,600 MB"),
            Number("resident after the load above", self._loaded, "MB"),
        ]
