"""Files of web servers (http and https), read in threads as they come: the standard library's client, with bounds.

Redirects are followed, a few, and never from https to http. Certificates are checked by the system's authorities; a
proxy is taken from the environment (`http_proxy`), as every program does. What goes wrong is said in words:
`Unavailable` when the server may be there later, `Invalid` when it has nothing that could be used.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from hagane.errors import HaganeError, Invalid, Unavailable

PATIENCE = 30.0  # seconds without a byte
WHOLE = 3600.0  # seconds that a file may take: a server that drips would be waited for without an end
BEGINNING = 60.0  # seconds that a small file may take, or how a large one begins
REDIRECTS = 5
HEAD = 64 << 10  # bytes that tell what an image is
MOST_TEXT = 1 << 20
BLOCK = 1 << 20
SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as its server shows it; `head`: how it begins."""

    url: str
    size: int
    head: bytes


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        target = urlsplit(newurl).scheme
        if target not in SCHEMES or (target == "http" and urlsplit(req.full_url).scheme == "https"):
            raise refused(req.full_url, f"It redirects to {shown(newurl)}, which is not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_url(text: str) -> bool:
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def refused(url: str, reason: str) -> Invalid:
    return Invalid(f"Validation of image href {shown(url)} failed, reason: {reason}")


def shown(url: str) -> str:
    """A URL without the password or the signature that it may hold."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(no URL)"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def name(url: str) -> str:
    """The last part of its path."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def opened(url: str) -> http.client.HTTPResponse:
    """The body, to be read. Blocks. Raises Invalid, Unavailable."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler, _Redirects,
                    urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor):  # fmt: skip
        opener.add_handler(handler())
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "hagane", "Accept-Encoding": "identity"})
        answer: http.client.HTTPResponse | None = opener.open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            astray = "to what is neither http nor https" if "not allowed" in str(error.msg) else (
                f"more than {REDIRECTS} times, or in a circle")  # fmt: skip
            raise refused(url, f"It redirects {astray}.") from None
        raise refused(url, f"Got HTTP code {error.code} instead of 200 in response to GET request.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"{shown(url)} cannot be reached: {reason or type(error).__name__}") from error
    if answer is None:
        raise refused(url, "It is neither http nor https.")
    if answer.status != 200:
        answer.close()
        raise refused(url, f"Got HTTP code {answer.status} instead of 200 in response to GET request.")
    return answer


def sized(url: str) -> tuple[http.client.HTTPResponse, int]:
    """The body, and how long it will be. Blocks. Raises Invalid, Unavailable."""
    answer = opened(url)
    if not answer.length:
        answer.close()
        raise refused(url, "Its server does not say how long it is." if answer.length is None else "It is empty.")
    return answer, answer.length


def look(url: str) -> Remote:
    """What is there. Blocks. Raises Invalid, Unavailable."""
    answer, size = sized(url)
    with answer:
        return Remote(url, size, _small(url, answer, HEAD))


def text(url: str) -> str:
    """A small file. Blocks. Raises Invalid, Unavailable."""
    with opened(url) as answer:
        return _small(url, answer, MOST_TEXT).decode(errors="replace")


def fetch(url: str, into: IO[bytes], *hears: Callable[[bytes], object]) -> int:
    """All of it into a file, each block also to who hears it; how many bytes. Blocks. Raises Invalid, Unavailable."""
    until = time.monotonic() + WHOLE
    answer, size = sized(url)
    with answer:
        left = size
        while left:
            block = _some(url, answer, min(BLOCK, left), until)
            if not block:
                raise Unavailable(f"{shown(url)} ended after {size - left} of {size} bytes.")
            left -= len(block)
            into.write(block)
            for hear in hears:
                hear(block)
    return size


def _small(url: str, answer: http.client.HTTPResponse, count: int) -> bytes:
    """All of it, or as much as that."""
    until, found = time.monotonic() + BEGINNING, b""
    count = count if answer.length is None else min(count, answer.length)
    while len(found) < count and (block := _some(url, answer, count - len(found), until)):
        found += block
    return found


def _some(url: str, answer: http.client.HTTPResponse, count: int, until: float) -> bytes:
    """What has come, as long as it is early enough; nothing at the end."""
    if time.monotonic() > until:
        raise refused(url, "Its server sends too slowly.")
    return _read(url, lambda: answer.read1(count))


def _read(url: str, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{shown(url)} stopped sending: {error or type(error).__name__}") from error


class Body:
    """The body of a URL that is sent on while it comes. It remembers why it ended early."""

    def __init__(self, url: str, failed: Callable[[str], None]) -> None:
        self._url, self._failed = url, failed
        self._answer, self.length = sized(url)
        self._left = self.length

    def read(self, count: int) -> bytes:
        """Raises OSError when it cannot go on."""
        try:
            block = _read(self._url, lambda: self._answer.read(min(count, self._left)))
        except HaganeError as error:
            self._failed(error.message)
            raise OSError(error.message) from error
        self._left -= len(block)
        if not block and self._left:
            self._failed(f"{shown(self._url)} ended after {self.length - self._left} of {self.length} bytes.")
        return block

    def close(self) -> None:
        self._answer.close()
