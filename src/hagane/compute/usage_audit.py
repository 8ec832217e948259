"""/os-instance_usage_audit_log: which Hosts have counted their Servers for the last month.

Hosts have no process that counts: usage is told from rows (tenant_usage.py). So none has, and that is said.

https://docs.openstack.org/api-ref/compute/#server-usage-audit-log-os-instance-usage-audit-log
"""

from datetime import datetime, timedelta
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.compute.base import V21, api, need
from hagane.errors import Invalid
from hagane.placement.host import all_hosts
from hagane.state import clock

PATH = V21 + "/os-instance_usage_audit_log"


def routes(cloud: Cloud) -> list[Route]:
    async def index(request: Request) -> Response:
        need(request, api("os-instance-usage-audit-log:list"), {})
        return json_response(200, {"instance_usage_audit_logs": await _log(cloud, clock.utc(clock.now()))})

    async def show(request: Request) -> Response:
        need(request, api("os-instance-usage-audit-log:show"), {})
        return json_response(200, {"instance_usage_audit_log": await _log(cloud, _moment(request.params["id"]))})

    return [
        Route("GET", PATH, index, "usage_audit:list", rule=api("os-instance-usage-audit-log:list")),
        Route("GET", PATH + "/{id}", show, "usage_audit:show", rule=api("os-instance-usage-audit-log:show")),
    ]


def _moment(text: str) -> datetime:
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise Invalid(f"Invalid timestamp for date {text}")


async def _log(cloud: Cloud, before: datetime) -> dict[str, Any]:
    """Of the last whole month before a time."""
    end = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    begin = (end - timedelta(days=1)).replace(day=1)
    hosts = [row["name"] for row in await all_hosts(cloud.db)]
    return {
        "period_beginning": str(begin), "period_ending": str(end), "num_hosts": len(hosts), "num_hosts_done": 0,
        "num_hosts_running": 0, "num_hosts_not_run": len(hosts), "hosts_not_run": hosts, "total_instances": 0,
        "total_errors": 0, "overall_status": f"0 of {len(hosts)} hosts done. 0 errors.", "log": {},
    }  # fmt: skip
