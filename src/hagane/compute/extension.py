"""The list of extensions, by which older clients find out what a compute service offers: what is offered, no more."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.errors import NotFound

_OFFERED = {
    "OS-DCF": ("DiskConfig", "Disk Management Extension."),
    "OS-EXT-AZ": ("ExtendedAvailabilityZone", "Extended Availability Zone support."),
    "OS-EXT-IMG-SIZE": ("ImageSize", "Adds image size to image listings."),
    "OS-EXT-IPS": ("ExtendedIps", "Adds type parameter to the ip list."),
    "OS-EXT-IPS-MAC": ("ExtendedIpsMac", "Adds mac address parameter to the ip list."),
    "OS-EXT-SRV-ATTR": ("ExtendedServerAttributes", "Extended Server Attributes support."),
    "OS-EXT-STS": ("ExtendedStatus", "Extended Status support."),
    "OS-FLV-DISABLED": ("FlavorDisabled", "Support to show the disabled status of a flavor."),
    "OS-FLV-EXT-DATA": ("FlavorExtraData", "Provide additional data for flavors."),
    "OS-SCH-HNT": ("SchedulerHints", "Pass arbitrary key/value pairs to the scheduler."),
    "OS-SRV-USG": ("ServerUsage", "Adds launched_at and terminated_at on Servers."),
    "os-admin-actions": ("AdminActions", "Enable admin-only server actions."),
    "os-aggregates": ("Aggregates", "Admin-only aggregate administration."),
    "os-attach-interfaces": ("AttachInterfaces", "Attach interface support."),
    "os-availability-zone": ("AvailabilityZone", "List the availability zones and pick one for a server."),
    "os-block-device-mapping": ("BlockDeviceMapping", "Block device mapping boot support."),
    "os-block-device-mapping-v2-boot": ("BlockDeviceMappingV2Boot", "Allow boot with the new BDM data format."),
    "os-config-drive": ("ConfigDrive", "Config Drive Extension."),
    "os-console-output": ("ConsoleOutput", "Console log output support, with tailing ability."),
    "os-consoles": ("Consoles", "Interactive Console support."),
    "os-create-backup": ("CreateBackup", "Create a backup of a server."),
    "os-deferred-delete": ("DeferredDelete", "Instance deferred delete."),
    "os-evacuate": ("Evacuate", "Enables server evacuation."),
    "os-extended-volumes": ("ExtendedVolumes", "Extended Volumes support."),
    "os-flavor-access": ("FlavorAccess", "Flavor access support."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Flavors extra specs support."),
    "os-flavor-manage": ("FlavorManage", "Flavor create/delete API support."),
    "os-hypervisors": ("Hypervisors", "Admin-only hypervisor administration."),
    "os-floating-ip-pools": ("FloatingIpPools", "Floating IPs support."),
    "os-floating-ips": ("FloatingIps", "Floating IPs support."),
    "os-hosts": ("Hosts", "Admin-only host administration."),
    "os-instance-actions": ("InstanceActions", "View a log of actions and events taken on an instance."),
    "os-instance_usage_audit_log": ("OSInstanceUsageAuditLog", "Admin-only Task Log Monitoring."),
    "os-keypairs": ("Keypairs", "Keypair Support."),
    "os-lock-server": ("LockServer", "Enable lock/unlock server actions."),
    "os-migrate-server": ("MigrateServer", "Enable migrate server actions."),
    "os-migrations": ("Migrations", "Provide data on migrations."),
    "NMN": ("Multinic", "Multiple network support."),
    "os-multiple-create": ("MultipleCreate", "Allow multiple create in the Create Server v2.1 API."),
    "os-networks": ("Networks", "Admin-only Network Management Extension."),
    "os-pause-server": ("PauseServer", "Enable pause/unpause server actions."),
    "os-personality": ("Personality", "Personality support."),
    "os-quota-class-sets": ("QuotaClasses", "Quota classes management support."),
    "os-quota-sets": ("Quotas", "Quotas management support."),
    "os-rescue": ("Rescue", "Instance rescue mode."),
    "os-security-groups": ("SecurityGroups", "Security group support."),
    "os-server-diagnostics": ("ServerDiagnostics", "Allow Admins to view server diagnostics through server action."),
    "os-server-external-events": ("ServerExternalEvents", "Server External Event Triggers."),
    "os-server-groups": ("ServerGroups", "Server group support."),
    "os-server-password": ("ServerPassword", "Server password support."),
    "os-services": ("Services", "Services support."),
    "os-shelve": ("Shelve", "Instance shelve mode."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "Simple tenant usage extension."),
    "os-suspend-server": ("SuspendServer", "Enable suspend/resume server actions."),
    "os-tenant-networks": ("OSTenantNetworks", "Project-based Network Management Extension."),
    "os-used-limits": ("UsedLimits", "Provide data on limited resource being used."),
    "os-user-data": ("UserData", "Add user_data to the Create Server API."),
    "os-volumes": ("Volumes", "Volumes support."),
    "os-volume-attachment-update": ("VolumeAttachmentUpdate", "Support for updating a volume attachment."),
}


def _view(alias: str) -> dict[str, Any]:
    name, description = _OFFERED[alias]
    return {
        "alias": alias, "name": name, "description": description, "links": [], "updated": "2014-12-03T00:00:00Z",
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
    }  # fmt: skip


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        need(request, api("extensions"), {})
        return json_response(200, {"extensions": [_view(alias) for alias in _OFFERED]})

    async def show(request: Request) -> Response:
        need(request, api("extensions"), {})
        alias = request.params["alias"]
        if alias not in _OFFERED:
            raise NotFound("The resource could not be found.")
        return json_response(200, {"extension": _view(alias)})

    return [
        Route("GET", V21 + "/extensions", index, "extension:list", rule=api("extensions")),
        Route("GET", V21 + "/extensions/{alias}", show, "extension:show", rule=api("extensions")),
    ]
