"""Which types of QoS rules there are: those that OVN enforces. An administrator sees what each one takes."""

from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.policy import Policy
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.network.agent import selected
from hagane.network.attr import ROOT
from hagane.network.errors import error
from hagane.network.qos_row import BANDWIDTH, DSCP, MARKS, MINIMUM, MOST

_RATE: tuple[str, Any] = ("range", {"start": 0, "end": MOST})
_WAYS: tuple[str, Any] = ("choices", ["egress", "ingress"])
TYPES: dict[str, dict[str, tuple[str, Any]]] = {
    BANDWIDTH: {"max_kbps": _RATE, "max_burst_kbps": _RATE, "direction": _WAYS},
    DSCP: {"dscp_mark": ("choices", list(MARKS))},
    MINIMUM: {"min_kbps": _RATE, "direction": ("choices", ["egress"])},
}


class QosTypes:
    """/qos/rule-types."""

    def __init__(self, cloud: Cloud, policy: Policy) -> None:
        self._policy = policy

    def routes(self) -> list[Route]:
        path, rule = f"{ROOT}/qos/rule-types", "get_rule_type"
        return [
            Route("GET", path, self.index, "rule_type:list", rule=rule),
            Route("GET", path + "/{id}", self.show, "rule_type:show", rule=rule),
        ]

    async def index(self, request: Request) -> Response:
        """`all_supported` and `all_rules` change nothing: all that there are, are supported."""
        self._policy.enforce("get_rule_type", request.caller.creds, {})
        views = selected(request, [{"type": name} for name in TYPES], ("type",), strict=False)
        return json_response(200, {"rule_types": views})

    async def show(self, request: Request) -> Response:
        self._policy.enforce("get_rule_type", request.caller.creds, {})
        name = request.params["id"]
        if not request.allowed("context_is_admin"):
            raise error("NotAuthorized")
        if name not in TYPES:
            raise error("HTTPNotFound")
        parameters = [
            {"parameter_name": parameter, "parameter_type": kind, "parameter_values": values}
            for parameter, (kind, values) in TYPES[name].items()
        ]
        drivers = [{"name": "ovn", "supported_parameters": parameters}]
        return json_response(200, {"rule_type": {"type": name, "drivers": drivers}})
