"""Time, in the two forms that rows keep: ISO 8601 text in UTC (sorts as text), and seconds since the epoch."""

import time
from datetime import UTC, datetime, timedelta


def now() -> str:
    """The time as rows keep it: 2026-01-31T12:00:00.123456, UTC, no suffix."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def after(seconds: float) -> str:
    """The time so many seconds from now, as rows keep it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat(timespec="microseconds")


def utc(text: str) -> datetime:
    """Somebody's ISO 8601 in UTC, without a suffix. Raises ValueError, also for times before the first year."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{text!r} is no time") from error


def kept(text: str) -> str:
    """The same as rows keep it. Raises ValueError."""
    return utc(text).isoformat(timespec="microseconds")


def seconds(text: str) -> float:
    """Seconds since the epoch of a row's time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def iso_z(text: str | None) -> str | None:
    """2026-01-31T12:00:00Z, the form of the compute and network APIs."""
    return None if text is None else text[:19] + "Z"


def wall() -> float:
    """Seconds since the epoch, now."""
    return time.time()


def monotonic() -> float:
    return time.monotonic()
