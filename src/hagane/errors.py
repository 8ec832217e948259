"""The error tree. It knows no HTTP: api/faults.py alone turns an error into a service's envelope and status.

    HaganeError
     ├─ Invalid           the caller sent something that cannot be right
     ├─ Unauthenticated   who are you?
     ├─ Forbidden         I know you, and you may not
     │   └─ QuotaExceeded   you may, but not so many
     ├─ NotFound          there is no such thing (or it is not yours to see)
     ├─ Conflict          right in itself, but not in the present state
     ├─ Precondition      a condition the caller set (revision, If-Match) does not hold
     ├─ TooLarge          more bytes than the service takes
     ├─ NotAcceptable     a version or a media type that this service does not speak
     ├─ Unsupported       a correct request for something that is not offered here
     ├─ ConfigError       the operator's file is wrong: which file, which line, what, and what would be right
     ├─ Unavailable       a device or backend does not answer now; trying again may help
     └─ DeviceFailed      a device or backend said no; trying again will not help

Every error has a public text for the caller, a stable code for programs, and a detail that only the log sees.
"""

from typing import Any


class HaganeError(Exception):
    """Base of all foreseen errors. `message` is public; `detail` goes to the log only; `code` is stable."""

    code = "Error"

    def __init__(self, message: str, *, code: str | None = None, detail: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.extra = extra
        if code is not None:
            self.code = code


class Invalid(HaganeError):
    """Bad input. `code` may name the service's own error class (network: the `type` of the envelope)."""

    code = "Invalid"


class Unauthenticated(HaganeError):
    code = "Unauthenticated"


class Forbidden(HaganeError):
    code = "Forbidden"


class QuotaExceeded(Forbidden):
    code = "QuotaExceeded"


class NotFound(HaganeError):
    code = "NotFound"


class Conflict(HaganeError):
    code = "Conflict"


class Precondition(HaganeError):
    code = "Precondition"


class TooLarge(HaganeError):
    code = "TooLarge"


class NotAcceptable(HaganeError):
    code = "NotAcceptable"


class Unsupported(HaganeError):
    code = "Unsupported"


class ConfigError(HaganeError):
    """A configuration or policy file that cannot be used. The message names file and line; it stops the start."""

    code = "ConfigError"


class Unavailable(HaganeError):
    code = "Unavailable"


class DeviceFailed(HaganeError):
    code = "DeviceFailed"
