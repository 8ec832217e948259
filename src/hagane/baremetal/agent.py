"""What a ramdisk on a Node asks: who am I (lookup), I am here (heartbeat), this is what I found (continue_inspection).

Who is told what is decided in agent_gate.py; here it has the form of the wire.

The ramdisk of a Node whose Nics are ours to plug comes through the provisioning service, which knows the Node by the
address that it asks from (reconcile/provision_answer.py): whoever speaks for such a Node from elsewhere is a stranger,
and nobody is called back but the machine that asks.
"""

import math
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from hagane.api.http import Caller, Request, Response, json_response
from hagane.api.service import Route
from hagane.api.types import Obj, Str, is_uuid
from hagane.baremetal.agent_gate import AgentGate
from hagane.baremetal.base import V1, arguments, at, need, query
from hagane.baremetal.node import Nodes
from hagane.baremetal.node_secret import STARS
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row

PROVISIONING = "hagane.provisioning"
"""Key of an ASGI scope that only the provisioning service makes; its `client` is then a Node's own address."""
STATUSES = ("start", "end", "error")
HEARTBEAT_BODY = Obj(fields={"callback_url": Str(), "agent_token": Str(), "agent_version": Str()},
                     required=("callback_url",), open=True)  # fmt: skip
FIELDS = ("callback_url", "agent_version", "agent_token", "agent_verify_ca", "agent_status", "agent_status_message")


class Agents:
    """`silence`: seconds after which a ramdisk that says nothing is taken for dead; it speaks more often than that."""

    def __init__(self, nodes: Nodes, silence: float) -> None:
        self.nodes, self.db, self.silence = nodes, nodes.db, silence
        self.gate = AgentGate(nodes.db, nodes.secrets)

    # -- lookup ------------------------------------------------------------------------------------------------

    async def lookup(self, request: Request) -> Response:
        _since(request, 22)
        _may(request, "driver:ipa_lookup")
        args = query(request, ("addresses", "node_uuid"))
        macs = _macs(args.get("addresses", "").split(","))
        key = args.get("node_uuid")
        if key is not None and not is_uuid(key):
            raise Invalid(f"Expected UUID for node_uuid: {key}")
        if not macs and key is None:
            raise Invalid("At least one of 'addresses' and 'node_uuid' parameters is required")

        row, token = await self.gate.lookup(key, macs, inside=_address(request) is not None)
        keys = ("uuid", "properties", "instance_info", "driver_internal_info")
        node = self.nodes.views(request, [row], keys)[0]
        shown = (token or STARS) if at(request, 62) else ""
        return json_response(200, {"node": node, "config": self._config(row, shown)})

    def _config(self, row: Row, token: str) -> dict[str, Any]:
        """What a stock agent needs to know to run."""
        return {
            "metrics": {"backend": "noop", "prepend_host": False, "prepend_uuid": False, "prepend_host_reverse": True,
                        "global_prefix": None},
            "metrics_statsd": {"statsd_host": "localhost", "statsd_port": 8125},
            "heartbeat_timeout": math.ceil(self.silence), "agent_token": token, "agent_token_required": True,
            "agent_md5_checksum_enable": False, "disable_deep_image_inspection": False,
            "permitted_image_formats": ["raw", "qcow2", "iso"], "enable_bios_bootloader_install": True,
            "agent_skip_bmc_detect": row["management_interface"] == "redfish",
        }  # fmt: skip

    # -- heartbeat ---------------------------------------------------------------------------------------------

    async def heartbeat(self, request: Request) -> Response:
        _since(request, 22)
        named = () if "id" in request.params else ("node_ident",)
        given = arguments(await request.json(), (*FIELDS, *named), ("callback_url", *named))
        _check_fields(request, given)
        _may(request, "node:ipa_heartbeat")

        address = _address(request)
        given["callback_url"] = _url(given["callback_url"], address)
        key = request.params["id"] if "id" in request.params else str(given.pop("node_ident"))
        if not is_uuid(key):
            key = (await self.nodes.load(self.db, key))["id"]
        await self.gate.heartbeat(key, given, inside=address is not None, request_id=request.id)
        return Response(202, b"", {}, media_type="")

    # -- inspection --------------------------------------------------------------------------------------------

    async def continue_inspection(self, request: Request) -> Response:
        _may(request, "driver:ipa_continue_inspection")
        args = query(request, ("node_uuid",))
        data = _found(await request.json())
        macs = _macs([str(nic["mac_address"]) for nic in data["inventory"]["interfaces"]])

        inside = _address(request) is not None
        found = await self.gate.found(args.get("node_uuid"), macs, data, inside=inside, request_id=request.id)
        return json_response(202, {"uuid": found})

    def routes(self) -> list[Route]:
        noun = "baremetal:"
        return [
            Route("GET", V1 + "/lookup", self.lookup, "agent:lookup", auth=False, rule=noun + "driver:ipa_lookup",
                  query=("addresses", "node_uuid")),
            Route("POST", V1 + "/heartbeat", self.heartbeat, "agent:heartbeat_named", auth=False, status=202,
                  rule=noun + "node:ipa_heartbeat", body=HEARTBEAT_BODY),
            Route("POST", V1 + "/heartbeat/{id}", self.heartbeat, "agent:heartbeat", auth=False, status=202,
                  rule=noun + "node:ipa_heartbeat", body=HEARTBEAT_BODY),
            Route("POST", V1 + "/continue_inspection", self.continue_inspection,
                  "agent:continue_inspection", auth=False,
                  status=202, rule=noun + "driver:ipa_continue_inspection", query=("node_uuid",)),
        ]  # fmt: skip


def _may(request: Request, rule: str) -> None:
    """The policy's rules for those without an account. Raises Forbidden."""
    request.caller = Caller(more={"is_public_api": True})
    need(request, f"baremetal:{rule}")


def _since(request: Request, minor: int) -> None:
    if not at(request, minor):
        raise NotFound("Resource could not be found.")


def _macs(given: list[str]) -> list[str]:
    """What of it are MACs, in lower case; the rest is left out, as the real service does."""
    plain = [text.strip().lower().replace("-", ":") for text in given]
    return [text for text in plain if len(text) == 17 and set(text) <= set("0123456789abcdef:")]


def _address(request: Request) -> str | None:
    """The address of a ramdisk that comes through the provisioning service; None: the request came otherwise."""
    return str(request.scope["client"][0]) if PROVISIONING in request.scope else None


def _url(text: Any, address: str | None) -> str:
    """A callback URL, of this address if there is one; an empty one is from a ramdisk that takes no commands. Raises
    Invalid."""
    if text == "":
        return ""
    try:
        parts = urlsplit(str(text))
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and (address is None or ip_address(parts.hostname or "") == ip_address(address))
    except ValueError:
        good = False
    if not good:
        raise Invalid('An issue with the supplied "callback_url" has been detected.')
    return str(text)


def _check_fields(request: Request, given: Row) -> None:
    if given.get("agent_version") and not at(request, 36):
        raise Invalid('Field "agent_version" not recognised')
    if (given.get("agent_status") or given.get("agent_status_message")) and not at(request, 72):
        raise Invalid('Fields "agent_status" and "agent_status_message" not recognised.')
    if given.get("agent_verify_ca") is not None and not at(request, 68):
        raise Invalid('Field "agent_verify_ca" not recognised in this version')
    if given.get("agent_status") is not None and given["agent_status"] not in STATUSES:
        raise Invalid(f"Agent status is invalid. Valid states are {','.join(STATUSES)}.")


def _found(data: Any) -> dict[str, Any]:
    """What an inspection found, if it holds the least that it must. Raises Invalid."""

    def bad(reason: str) -> Invalid:
        return Invalid(f"Schema error for data: {reason}")

    if not isinstance(data, dict):
        raise bad(f"{data!r} is not of type 'object'")
    if not isinstance(data.get("inventory"), dict):
        raise bad("'inventory' is a required property")
    nics = data["inventory"].get("interfaces")
    if not isinstance(nics, list) or not nics:
        raise bad("'interfaces' is a required property")
    if not all(isinstance(nic, dict) and isinstance(nic.get("mac_address"), str) for nic in nics):
        raise bad("'mac_address' is a required property")
    if odd := _odd(data, data["inventory"]):
        raise bad(f"{odd} is not of the type that it should have")
    return data


def _odd(data: dict[str, Any], inventory: dict[str, Any]) -> str:
    """Which part that is read later (reconcile/node_inspect.py) is not what it should be; "" if none is."""
    kinds = {"cpu": dict, "memory": dict, "boot": dict, "disks": list}
    for name, kind in kinds.items():
        if not isinstance(inventory.get(name) or kind(), kind):
            return f"'inventory.{name}'"
    disks, lldp = inventory.get("disks") or [], data.get("lldp_raw") or {}
    if not all(isinstance(disk, dict) and isinstance(disk.get("size") or 0, int) for disk in disks):
        return "'inventory.disks'"
    if not isinstance(lldp, dict):
        return "'lldp_raw'"
    frames = [*(nic.get("lldp") for nic in inventory["interfaces"]), *lldp.values()]
    return "" if all(isinstance(one or [], list) for one in frames) else "'lldp_raw'"
