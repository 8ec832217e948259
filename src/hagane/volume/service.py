"""The block storage API: its routes, tables, microversions and version documents.

https://docs.openstack.org/cinder/latest/contributor/api_microversion_history.html
"""

from pathlib import Path
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Microversions, Route, Service
from hagane.cloud import Cloud
from hagane.identity.removal import on_project_deleted
from hagane.state.table import Table
from hagane.volume import action, extension, metadata, project
from hagane.volume.attachment import Attachments
from hagane.volume.backup import Backups
from hagane.volume.backup_record import BackupRecords
from hagane.volume.backup_row import BACKUP
from hagane.volume.base import ROOT, V3, envelope, status, wording
from hagane.volume.export import EXPORT
from hagane.volume.group import Groups
from hagane.volume.group_row import GROUP, GROUP_SNAPSHOT, GROUP_TYPE, VOLUME_TYPE
from hagane.volume.group_snapshot import GroupSnapshots
from hagane.volume.group_type import GroupSpecs, GroupTypes
from hagane.volume.message import MESSAGE
from hagane.volume.message_api import Messages
from hagane.volume.pool import POOL, SERVICE
from hagane.volume.pool_api import Services
from hagane.volume.qos import QosSpecs
from hagane.volume.quota import LIMIT, USAGE
from hagane.volume.quota_api import Quotas
from hagane.volume.row import ATTACHMENT, ITEM, SNAPSHOT, VOLUME
from hagane.volume.snapshot import Snapshots
from hagane.volume.transfer import TRANSFER, Transfers
from hagane.volume.type import DefaultTypes, Types
from hagane.volume.type_encryption import TypeEncryption
from hagane.volume.type_row import ACCESS, PROJECT_DEFAULT, QOS, TYPE
from hagane.volume.type_specs import ExtraSpecs
from hagane.volume.volume import Volumes

OLDEST, NEWEST, UPDATED = "3.0", "3.71", "2023-08-31T00:00:00Z"
TABLES: tuple[Table, ...] = (
    VOLUME, SNAPSHOT, ATTACHMENT, ITEM, TYPE, ACCESS, PROJECT_DEFAULT, QOS, LIMIT, USAGE, BACKUP, POOL, SERVICE, EXPORT,
    MESSAGE, TRANSFER, GROUP, GROUP_SNAPSHOT, GROUP_TYPE, VOLUME_TYPE,
)  # fmt: skip
RESOURCES = (
    Volumes, Snapshots, Attachments, Types, ExtraSpecs, TypeEncryption, DefaultTypes, QosSpecs, Quotas,
    Transfers, Backups, BackupRecords, Services, Messages, Groups, GroupSnapshots, GroupTypes, GroupSpecs,
)  # fmt: skip


def service(cloud: Cloud) -> Service:
    """The block storage service of one cloud."""
    overrides = Path(cloud.config.policy) if cloud.config.policy else None
    made = Service(
        "volume", ROOT, Policy.load("volume", overrides), envelope, versions=Microversions("volume", OLDEST, NEWEST),
        wording=wording, status=status, id_header="x-compute-request-id", title="Block Storage",
    )  # fmt: skip
    on_project_deleted(cloud, project.deleted)
    made.routes += _documents()
    for kind in RESOURCES:
        made.routes += kind(cloud).routes()
    for module in (metadata, action, extension):
        made.routes += module.routes(cloud)
    return made


def _documents() -> list[Route]:
    """The version documents, which need no token."""

    async def choices(request: Request) -> Response:
        return json_response(300, {"versions": [_version(request)]})

    async def one(request: Request) -> Response:
        return json_response(200, {"versions": [_version(request)]})

    return [
        Route("GET", ROOT, choices, "volume:versions", auth=False, status=300),
        Route("GET", ROOT + "/", choices, "volume:versions:slash", auth=False, status=300),
        Route("GET", V3, one, "volume:version", auth=False),
        Route("GET", V3 + "/", one, "volume:version:slash", auth=False),
    ]


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": NEWEST,
        "min_version": OLDEST,
        "updated": UPDATED,
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{request.url}/v3/"},
        ],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"},
        ],
    }
