"""The steps of one piece of work on a Server, as its owner reads them: what began when, how far it is, when it ended.

A driver tells its progress in passing; it is kept here and written with the outcome, or every second while it lasts.
"""

from collections.abc import Mapping
from typing import Any

from hagane.compute.row import KIND
from hagane.state import clock, event
from hagane.state.database import Row, Tx


class Overtaken(Exception):
    """While the Host was at work, something else was wanted of the Server."""


class Steps:
    """Recorder of one run."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._key, self._request, self._action = row["id"], row["request_id"], row["action"]
        self._host = row["host"]
        self._attempt = f"-{len(row['tried']) + 1}" if row["tried"] else ""
        self._steps: dict[str, Row] = {}
        self.changed = False

    def progress(self, step: str, percent: int) -> None:
        """Called by drivers: the step goes on; a new name ends the one before."""
        name = step + self._attempt
        current = self._steps.get(name)
        if current is None:
            self._finish("Success")
            self._steps[name] = {"step": name, "started_at": clock.now(), "host": self._host, "percent": percent}
        else:
            current["percent"] = percent
        self.changed = True

    def _finish(self, result: str, message: str | None = None) -> None:
        for step in self._steps.values():
            if step.get("finished_at") is None:
                step |= {"finished_at": clock.now(), "result": result, "message": message}
                if result == "Success":
                    step["percent"] = 100

    @property
    def percent(self) -> int:
        """Of the step that goes on."""
        return next((step["percent"] for step in reversed(self._steps.values())), 0)

    async def write(self, tx: Tx) -> None:
        """What is known so far."""
        self.changed = False
        await event.record(tx, KIND, self._key, self._request, self._action, self._steps.values())

    async def end(self, tx: Tx, *, error: str = "", whole: bool = True) -> None:
        """The work is over; `whole`: and with it the action."""
        if self._steps:
            self._finish("Error" if error else "Success", error or None)
            await self.write(tx)
        if whole:
            await event.end_all(tx, KIND, self._key, self._request, error=error)
