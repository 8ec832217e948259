"""The image service: its routes, its version document, and what it says about itself.

Versions follow the real service's; 2.14 (an image cache) and those after 2.15 (locations) are for what is not offered.
"""

from pathlib import Path

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route, Service
from hagane.cloud import Cloud
from hagane.image import metadef_schema, schema
from hagane.image.base import PREFIX, STORE, ImagePolicy, enforce, envelope, wording
from hagane.image.data import Data
from hagane.image.image import Image
from hagane.image.member import Members, Tags
from hagane.image.metadef import PART, SPACE, Metadefs
from hagane.image.metadef_part import MetadefParts
from hagane.image.row import MEMBER, PROPERTY, TAG
from hagane.image.staging import Staging
from hagane.image.task import TASK, Tasks
from hagane.image.usage import Usage
from hagane.state.table import Table

VERSIONS = (
    "2.15",
    "2.13",
    "2.12",
    "2.11",
    "2.10",
    "2.9",
    "2.8",
    "2.7",
    "2.6",
    "2.5",
    "2.4",
    "2.3",
    "2.2",
    "2.1",
    "2.0",
)
TABLES: tuple[Table, ...] = (Image.table, TAG, PROPERTY, MEMBER, TASK, SPACE, PART)


class About:
    """Version documents and stores."""

    async def choices(self, request: Request) -> Response:
        """The root: several versions to choose from."""
        return json_response(300, _versions(request))

    async def versions(self, request: Request) -> Response:
        return json_response(200, _versions(request))

    async def stores(self, request: Request) -> Response:
        return json_response(200, {"stores": [{"id": STORE, "default": "true"}]})

    async def stores_detail(self, request: Request) -> Response:
        enforce(request, "stores_info_detail", {})
        detail = {"id": STORE, "default": "true", "type": "file", "properties": {}, "weight": 0}
        return json_response(200, {"stores": [detail]})

    def routes(self) -> list[Route]:
        v2 = f"{PREFIX}/v2"
        return [
            Route("GET", PREFIX, self.choices, "versions:root", auth=False, status=300),
            Route("GET", f"{PREFIX}/", self.choices, "versions:choices", auth=False, status=300),
            Route("GET", f"{PREFIX}/versions", self.versions, "versions:list", auth=False),
            Route("GET", f"{v2}/info/stores", self.stores, "stores:list"),
            Route("GET", f"{v2}/info/stores/detail", self.stores_detail, "stores:detail", rule="stores_info_detail"),
        ]


def _versions(request: Request) -> dict[str, object]:
    links = [{"rel": "self", "href": f"{request.base_url}{PREFIX}/v2/"}]
    listed = [{"id": f"v{version}", "status": "SUPPORTED", "links": links} for version in VERSIONS]
    listed[0] = listed[0] | {"status": "CURRENT"}
    return {"versions": listed}


def service(cloud: Cloud) -> Service:
    """All routes of the image API."""
    images = Image(cloud)
    of_one = (Data(cloud, images), Staging(cloud, images), Members(cloud, images), Tags(cloud, images))
    parts = (About(), images, *of_one, Tasks(cloud), Metadefs(cloud), MetadefParts(cloud), Usage(cloud))
    policy = Policy.load("image", Path(cloud.config.policy) if cloud.config.policy else None)
    cloud.provide(ImagePolicy, ImagePolicy(policy))
    return Service(
        "image", PREFIX, policy, envelope, wording=wording, title="Image",
        routes=[*(route for part in parts for route in part.routes()), *schema.routes(), *metadef_schema.routes()],
    )  # fmt: skip
