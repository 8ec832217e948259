"""The Identity API: its routes, version documents and tables."""

from pathlib import Path

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route, Service
from hagane.cloud import Cloud
from hagane.identity.access_rule import AccessRule
from hagane.identity.access_token import AccessTokens
from hagane.identity.application_credential import ApplicationCredential
from hagane.identity.assignment import ASSIGNMENT
from hagane.identity.assignment_list import AssignmentList
from hagane.identity.auth import Auth
from hagane.identity.base import PREFIX, V3, envelope, wording
from hagane.identity.catalog import CatalogService, Endpoint, Region
from hagane.identity.compliance import HISTORY
from hagane.identity.consumer import Consumer
from hagane.identity.credential import Credential
from hagane.identity.domain import Domain
from hagane.identity.domain_config import OPTION, DomainConfig
from hagane.identity.ec2 import Ec2
from hagane.identity.endpoint_filter import PROJECT_ENDPOINT, PROJECT_GROUP, EndpointFilter
from hagane.identity.endpoint_group import EndpointGroup
from hagane.identity.endpoint_policy import ASSOCIATION, EndpointPolicy
from hagane.identity.federation import REMOTE, IdentityProvider, Protocol
from hagane.identity.grant import Grants
from hagane.identity.group import MEMBER, Group
from hagane.identity.limit import Limit, RegisteredLimit
from hagane.identity.mapping import Mapping
from hagane.identity.oauth import Oauth
from hagane.identity.oauth_store import ACCESS_TOKEN, NONCE, REQUEST_TOKEN
from hagane.identity.password import Passwords
from hagane.identity.project import Project
from hagane.identity.revocation import REVOCATION
from hagane.identity.revoke_event import RevokeEvents
from hagane.identity.role import IMPLIED, Role
from hagane.identity.service_provider import ServiceProvider
from hagane.identity.stored_policy import StoredPolicy
from hagane.identity.throttle import Throttle
from hagane.identity.token import Tokens
from hagane.identity.trust import Trust
from hagane.identity.user import User
from hagane.state.table import Table

STORED = (Project, User, Group, Role, Region, CatalogService, Endpoint, ApplicationCredential, AccessRule,
          RegisteredLimit, Limit, Trust, Credential, StoredPolicy, EndpointGroup, Consumer,
          IdentityProvider, Protocol, Mapping, ServiceProvider)  # fmt: skip
VARY = {"vary": "X-Auth-Token"}
TABLES: tuple[Table, ...] = (
    *(resource.table for resource in STORED),
    MEMBER,
    IMPLIED,
    ASSIGNMENT,
    REVOCATION,
    PROJECT_ENDPOINT,
    PROJECT_GROUP,
    REQUEST_TOKEN,
    ACCESS_TOKEN,
    NONCE,
    ASSOCIATION,
    REMOTE,
    OPTION,
    HISTORY,
)


def service(cloud: Cloud) -> Service:
    """The service, and in the cloud the things that all others need of it: Tokens and Passwords."""
    overrides = Path(cloud.config.policy) if cloud.config.policy else None
    policy = Policy.load("identity", overrides)
    made = Service("identity", PREFIX, policy, envelope, wording=wording, title="Identity", headers=VARY)
    cloud.provide(Tokens, Tokens(cloud))
    cloud.provide(Passwords, Passwords(cloud.config.bcrypt_cost))
    cloud.provide(Throttle, Throttle())
    parts = (
        *(resource(cloud) for resource in (Domain, *STORED)),
        Auth(cloud),
        Ec2(cloud),
        RevokeEvents(cloud),
        Grants(cloud),
        DomainConfig(cloud),
        AssignmentList(cloud),
        EndpointFilter(cloud),
        EndpointPolicy(cloud),
        Oauth(cloud),
        AccessTokens(cloud),
    )
    made.routes = [*_versions(), *(route for part in parts for route in part.routes())]
    return made


def _versions() -> list[Route]:
    def entry(request: Request) -> dict[str, object]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{request.base_url}{V3}/"}],
            "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
        }

    async def all_versions(request: Request) -> Response:
        body = {"versions": {"values": [entry(request)]}}
        return json_response(300, body, {"location": f"{request.base_url}{V3}/"})

    async def version(request: Request) -> Response:
        return json_response(200, {"version": entry(request)})

    return [
        Route("GET", PREFIX, all_versions, "versions", auth=False, status=300),
        Route("GET", PREFIX + "/", all_versions, "versions", auth=False, status=300),
        Route("GET", V3, version, "version", auth=False),
        Route("GET", V3 + "/", version, "version", auth=False),
    ]
