"""Logs: one line an event, as text for people or as JSON for machines, each with the request that caused it.

Reconcilers run long after the request was answered; the work row carries its id (reconcile/engine.py), so one search
for a request id shows what the API did and what became of it. What others choose (paths, names, answers of devices)
cannot begin a line.
"""

import logging
import sys
from datetime import UTC, datetime

import msgspec

from hagane.api.http import request_id

STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    extras = {key: value for key, value in record.__dict__.items() if key not in STANDARD and value}
    if "request_id" not in extras and request_id.get():
        extras["request_id"] = request_id.get()
    return extras


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Text(logging.Formatter):
    """`12:00:01 WARNING reconcile.server  the message  [req-...]`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        name = record.name.removeprefix("hagane.")
        line = f"{moment} {record.levelname:<7} {name:<18} {_one_line(record.getMessage())}"
        if identity := _extras(record).get("request_id"):
            line += f"  [{identity}]"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | _extras(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def configure(form: str, level: str) -> None:
    """Send all logs to standard error. `form` is text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel("WARNING")
    logging.getLogger("asyncssh").setLevel("WARNING")  # it tells of each channel that it opens
