"""The bytes of an image over HTTP: upload and download, both streamed, memory flat at any size."""

import re

from hagane.api.http import Request, Response, empty
from hagane.api.service import Route
from hagane.api.text import natural
from hagane.cloud import Cloud
from hagane.errors import Forbidden, HaganeError, Invalid
from hagane.image import content, store
from hagane.image.base import PREFIX, enforce
from hagane.image.image import Image
from hagane.state.database import Row

MEDIA = "application/octet-stream"
_SINGLE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)\s*-\s*(\d+)\s*/\s*(\d+|\*)\s*\Z", re.ASCII)


class Data:
    """`/images/{id}/file`."""

    def __init__(self, cloud: Cloud, images: Image) -> None:
        self.cloud, self._images = cloud, images

    async def upload(self, request: Request) -> Response:
        row = await receiver(self._images, request, "upload_image")
        await store.receive(self.cloud, row, request.stream(), size=announced(request))
        return empty()

    async def download(self, request: Request) -> Response:
        if request.method == "HEAD":
            raise HaganeError("The method HEAD is not allowed for this resource.", status=405, allow="GET, PUT")
        row = await self._images.find(request, self.cloud.db, request.params["id"])
        enforce(request, "download_image", self._images.target(row))
        if row["status"] == "deactivated" and not request.allowed("context_is_admin"):
            raise Forbidden("The requested image has been deactivated. Image data download is forbidden.", code="Off")
        if row["status"] not in ("active", "deactivated"):
            return empty()
        start, end = _range(request, row["size"])
        headers = {"content-md5": row["checksum"], "accept-ranges": "bytes", "content-length": str(end - start)}
        if (start, end) != (0, row["size"]) or "range" in request.headers:
            headers["content-range"] = f"bytes {start}-{end - 1}/{row['size']}"
        status = 206 if "content-range" in headers else 200
        file = content.path(self.cloud.config, row["id"], row["upload"])
        return Response(status, await content.read(file, start, end - start), headers, MEDIA)

    def routes(self) -> tuple[Route, ...]:
        path = f"{PREFIX}/v2/images/{{id}}/file"
        return (
            Route("PUT", path, self.upload, "image:upload", rule="upload_image", status=204, streams=True),
            Route("GET", path, self.download, "image:download", rule="download_image", streams=True),
        )


async def receiver(images: Image, request: Request, rule: str) -> Row:
    """The image that a request has bytes for. Raises Invalid, NotFound, Forbidden, HaganeError (415)."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != MEDIA:
        raise HaganeError(f"Invalid content type {media}", code="UnsupportedMediaType", status=415)
    row = await images.find(request, images.db, request.params["id"])
    enforce(request, rule, images.target(row))
    if row["status"] == "queued" and not (row["disk_format"] and row["container_format"]):
        missing = ", ".join(name for name in ("disk_format", "container_format") if not row[name])
        raise Invalid(f"Properties {missing} must be set prior to saving data.", code="FormatMissing")
    return row


def announced(request: Request) -> int | None:
    """The size that the client says the image has, where it says so. Raises Invalid."""
    said = request.headers.get("x-openstack-image-size")
    if said is None:
        said = request.headers.get("content-length")
    elif natural(said) is None:
        raise Invalid("Invalid or missing image size in request headers.", code="BadSize")
    return None if said is None else natural(said)


def _range(request: Request, size: int) -> tuple[int, int]:
    """First byte and the one after the last (RFC 9110, one range; Content-Range as older clients send it)."""
    text, legacy = request.headers.get("range"), request.headers.get("content-range")
    if text is None and legacy is None:
        return 0, size
    if text is not None and "," in text:
        raise Invalid("Requests with multiple ranges are not supported in Glance. You may make multiple single-range"
                      " requests instead.", code="BadRange")  # fmt: skip
    match = _SINGLE.match(text) if text is not None else _CONTENT_RANGE.match(legacy or "")
    if match is None or not (match[1] or match[2]):
        raise _unsatisfiable(size, f"The Range header {text or legacy!r} is not understood.")
    first, last = natural(match[1] or ""), natural(match[2] or "")
    if first is None:  # the last so many bytes
        start, end = max(0, size - (last or 0)), size
    else:
        start, end = first, size if last is None else min(last + 1, size)
    if start >= end:
        bounds = f"Start position MUST be in the inclusive range [0, {size - 1}]."
        raise _unsatisfiable(size, f"Invalid start position in Range header. {bounds}")
    return start, end


def _unsatisfiable(size: int, text: str) -> HaganeError:
    return HaganeError(f"The Range requested is not available. {text}", code="BadRange", status=416)
