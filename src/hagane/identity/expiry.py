"""When a credential or a trust ends: the time that a caller names, as rows keep it."""

import time
from datetime import UTC

from hagane.errors import Invalid
from hagane.state import clock

_MALFORMED = (
    " The server could not comply with the request since it is either malformed or otherwise incorrect. The client is"
    " assumed to be in error."
)


def expiry(text: str | None) -> str | None:
    """A time in the future, as rows keep it. Raises Invalid."""
    if not text:
        return None
    try:
        moment = clock.utc(text)
    except ValueError as error:
        raise Invalid("Timestamp not in expected format." + _MALFORMED) from error
    if moment.replace(tzinfo=UTC).timestamp() <= time.time():
        raise Invalid("The 'expires_at' must not be before now." + _MALFORMED)
    return moment.isoformat(timespec="microseconds")
