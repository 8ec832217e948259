"""The block storage API as compute asks it: for the same caller, by that API's own policy, in compute's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from hagane.api.asgi import Application
from hagane.api.http import Request
from hagane.compute import device
from hagane.compute.base import at
from hagane.errors import Invalid, NotFound, QuotaExceeded, TooLarge
from hagane.state.database import Reader, Row, Tx
from hagane.volume import attach
from hagane.volume.base import ROOT, bad_volume, missing, sees
from hagane.volume.row import VOLUME

NEWEST = (3, 71)


def asking(request: Request) -> Request:
    """The same request, as if it had come to the block storage API."""
    twin = copy(request)
    twin.service, twin.version = request.cloud.use(Application).service_of(ROOT), NEWEST
    return twin


async def volume_of(request: Request, reader: Reader, volume_id: str) -> Row:
    """A volume that the caller may know of. Raises NotFound."""
    row = await attach.get(reader, volume_id)
    if not sees(request, row):
        raise missing("Volume", volume_id)
    return row


async def volumes_of(reader: Reader, row: Row) -> dict[str, Row]:
    """The volumes of a Server, as far as they are there, by their ids."""
    ids = [one["volume_id"] for one in device.volumes(row) if one["volume_id"]]
    return {volume["id"]: volume for volume in await VOLUME.select(reader, {"id": ids})} if ids else {}


async def refuse_twice(tx: Tx, row: Row, volume: Row) -> None:
    """A volume is attached once to a Server, and to others only where it may be. Raises Invalid."""
    others = [one["instance_uuid"] for one in await attach.attachments(tx, volume["id"]) if one["instance_uuid"]]
    if others and not volume["multiattach"]:
        raise bad_volume(f"volume {volume['id']} is already attached to instances: {' '.join(others)}")
    if device.find(row, volume["id"]) is not None:
        raise bad_volume(f"volume {volume['id']} already attached")


def refuse_multiattach(request: Request, volume: Row) -> None:
    if volume["multiattach"] and not at(request, 60):
        raise Invalid("Multiattach volumes are only supported starting with compute API version 2.60.")


@contextmanager
def worded() -> Iterator[None]:
    """The block storage API's refusals as compute passes them on."""
    try:
        yield
    except TooLarge as error:
        raise QuotaExceeded(error.message, code=error.code) from error
    except Invalid as error:
        raise Invalid(f"Invalid input received: {error.message}", code=error.code) from error


def refused(error: NotFound) -> Invalid:
    """What is not found, but was only named in a body, is a bad request."""
    return Invalid(error.message, code=error.code)
