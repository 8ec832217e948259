"""What every handler and reconciler is given: the store, the settings, and a place to find what others provide.

A noun that needs something from below (the live console of a Host, the bytes of an image) declares a Protocol for it;
whoever has it provides it here, in app.py. So a noun imports no reconciler and no driver.
"""

from typing import Any, TypeVar, cast

from hagane.config import Config
from hagane.errors import Unavailable
from hagane.state.database import Database

T = TypeVar("T")


class Cloud:
    """One running Hagane."""

    def __init__(self, config: Config, db: Database) -> None:
        self.config = config
        self.db = db
        self._provided: dict[type, Any] = {}

    def provide(self, kind: type[T], thing: T) -> None:
        self._provided[kind] = thing

    def use(self, kind: type[T]) -> T:
        """What was provided for a Protocol or class. Raises Unavailable."""
        try:
            return cast(T, self._provided[kind])
        except KeyError:
            raise Unavailable(f"{kind.__name__} is not available in this process.") from None

    def has(self, kind: type) -> bool:
        return kind in self._provided
