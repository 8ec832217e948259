"""The placement API: what Hosts have, and who uses it. https://docs.openstack.org/api-ref/placement/"""

from pathlib import Path
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Microversions, Route, Service
from hagane.cloud import Cloud
from hagane.placement.base import ROOT, envelope
from hagane.placement.consumer import Consumers
from hagane.placement.host import HOST
from hagane.placement.inventory import ALLOCATION, INVENTORY
from hagane.placement.provider import Providers, vocabulary

OLDEST, NEWEST = "1.0", "1.39"
TABLES = (HOST, INVENTORY, ALLOCATION)


def service(cloud: Cloud) -> Service:
    """The placement service of one cloud."""
    overrides = Path(cloud.config.policy) if cloud.config.policy else None
    made = Service(
        "placement", ROOT, Policy.load("placement", overrides), envelope,
        versions=Microversions("placement", OLDEST, NEWEST), title="Placement",
    )  # fmt: skip
    made.routes += [*_documents(), *Providers(cloud).routes(), *Consumers(cloud).routes(), *vocabulary(cloud)]
    return made


def _documents() -> list[Route]:
    async def root(request: Request) -> Response:
        document: dict[str, Any] = {
            "id": "v1.0", "max_version": NEWEST, "min_version": OLDEST, "status": "CURRENT",
            "links": [{"rel": "self", "href": ""}],
        }  # fmt: skip
        return json_response(200, {"versions": [document]})

    return [
        Route("GET", ROOT, root, "placement:versions", auth=False),
        Route("GET", ROOT + "/", root, "placement:versions:slash", auth=False),
    ]
