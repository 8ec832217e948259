"""What the compute API once had of networks and volumes, and keeps for older clients: other APIs of ours are asked.

    GET /compute/v2.1/os-floating-ips ─▶ GET /network/v2.0/floatingips, as the same caller ─▶ in the older form

So there is one implementation of each, with its policy, its quota and its checks. A refusal of the other API is said
with this one's codes: what is taken or in use already is no conflict here, but a bad request.
"""

from typing import Any
from urllib.parse import urlencode

from hagane.api.asgi import Application
from hagane.api.http import Request
from hagane.api.types import is_uuid
from hagane.errors import Conflict, Forbidden, Invalid, NotFound, QuotaExceeded
from hagane.state.database import Row

NETWORK, VOLUME, IMAGE = "/network/v2.0", "/volume/v3", "/image/v2"
LAST = "2.35"
"""The last microversion with these."""


async def ask(request: Request, method: str, path: str, body: Any = None, *, media: str = "", **query: str) -> Any:
    """The other API's answer. Raises what it raises, conflicts as Invalid and exceeded quotas as Forbidden."""
    try:
        app = request.cloud.use(Application)
        return await app.inner(request, method, path, body, query=urlencode(query), media=media)
    except QuotaExceeded as error:
        raise Forbidden(error.message) from error
    except Conflict as error:
        raise Invalid(error.message) from error


def one_of(path: str, noun: str, key: str) -> str:
    """The path of one thing of the other API; `key` comes from outside, and whatever is no id might lead to another
    route there. Raises NotFound."""
    if not is_uuid(key):
        raise NotFound(f"{noun} {key} could not be found.")
    return f"{path}/{key}"


async def ports_of(request: Request, server: Row) -> list[dict[str, Any]]:
    """The Ports of a Server: anybody may name it in a Port of their own, so the Server says which are its own."""
    own = {nic["port_id"] for nic in server["nics"]}
    found = (await ask(request, "GET", f"{NETWORK}/ports", device_id=server["id"]))["ports"] if own else []
    return [port for port in found if port["id"] in own]
