"""What a Node is told to do: provision verbs, power, console, boot mode, secure boot, RAID.

A verb moves the Node's state within the request; the rest is intent in the row (`wanted`, what one asks of the BMC),
and the reconciler of Nodes is woken. Nothing here talks to a machine.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import Bool, Int, ListOf, Obj, Str, Type
from hagane.baremetal import node_console, node_reach, san_target
from hagane.baremetal.base import V1, arguments, at, boolean, integer, moment, need, node_target, require, string
from hagane.baremetal.command import DEPLOYS, command, want
from hagane.baremetal.driver import validate
from hagane.baremetal.node import Nodes, older_state
from hagane.baremetal.node_rule import POWER_RESULT, check_power, check_settled, check_verb
from hagane.baremetal.step import check_steps
from hagane.errors import Invalid, NotFound
from hagane.state.database import Row, Tx

MIN_VERB = {"manage": 4, "provide": 4, "inspect": 6, "abort": 13, "clean": 15, "adopt": 17, "rescue": 38,
            "unrescue": 38,             "deploy": 73, "undeploy": 73, "unhold": 85, "service": 87}  # fmt: skip
PROVISION = ("target", "configdrive", "clean_steps", "deploy_steps", "rescue_password", "disable_ramdisk",
             "service_steps", "runbook")  # fmt: skip
SOFT = ("soft rebooting", "soft power off")
_STEPS = ListOf(item=Obj(open=True), nullable=True)
BODIES: dict[str, Type] = {
    "provision": Obj(
        fields={"target": Str(), "configdrive": Type(nullable=True), "clean_steps": _STEPS, "deploy_steps": _STEPS,
                "service_steps": _STEPS, "rescue_password": Str(nullable=True), "runbook": Str(nullable=True),
                "disable_ramdisk": Bool(nullable=True)}, required=("target",)),
    "power": Obj(fields={"target": Str(), "timeout": Int(nullable=True)}, required=("target",)),
    "boot_mode": Obj(fields={"target": Str()}, required=("target",)),
    "secure_boot": Obj(fields={"target": Bool()}, required=("target",)),
    "console": Obj(fields={"enabled": Bool()}, required=("enabled",)),
}  # fmt: skip
"""What the PUT requests below `states` take, for the documents."""


Runbook = Callable[[Request, Tx, Row, str], Awaitable[tuple[list[dict[str, Any]], bool]]]


class NodeVerbs:
    def __init__(self, nodes: Nodes) -> None:
        self.nodes, self.db = nodes, nodes.db
        self.runbook: Runbook | None = None  # set by service.py: the steps of a runbook

    # -- states ------------------------------------------------------------------------------------------------

    async def states(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "get_states")
        keys = ["console_enabled", "last_error", "power_state", "provision_state", "target_power_state",
                "target_provision_state", "provision_updated_at"]  # fmt: skip
        keys += ["raid_config", "target_raid_config"] if at(request, 12) else []
        keys += ["boot_mode", "secure_boot"] if at(request, 75) else []
        view = {key: row[key] for key in keys}
        view["provision_updated_at"] = moment(view["provision_updated_at"])
        older_state(request, view)
        return json_response(200, view)

    # -- provisioning ------------------------------------------------------------------------------------------

    async def provision(self, request: Request) -> Response:
        given = arguments(await request.json(), PROVISION, ("target",))
        verb = string("target", given["target"]) or ""

        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, "set_provision_state")
            _check_version(request, row, verb)
            for kind in ("clean", "service"):
                if given.get(f"{kind}_steps"):
                    need(request, f"baremetal:node:set_provision_state:{kind}_steps", node_target(row))
            check_verb(row, verb)
            told = await self._with_runbook(request, tx, row, verb, given)
            _check_arguments(request, verb, told)
            if verb in DEPLOYS:
                targets = await san_target.targets(tx, row["id"])
                _check_ready(row, targets)
                await san_target.check(tx, request.caller, row, targets)
                await node_reach.check(tx, request.caller, {}, {"instance_info": row["instance_info"]})
            await self._advance(request, tx, row, verb, told)

        await self.db.write(change)
        return accepted(request, "states")

    async def _with_runbook(self, request: Request, tx: Tx, row: Row, verb: str, given: Row) -> Row:
        """The arguments, with a runbook's steps in its place."""
        key = string("runbook", given.get("runbook"))
        if key is None or self.runbook is None:
            return given
        if verb not in ("clean", "service"):
            raise Invalid(
                "\"runbooks\" is only valid when setting target provision state to any of ['clean', 'service']"
            )
        if given.get(f"{verb}_steps"):
            raise Invalid(f'Please provide either "{verb}_steps" or a runbook, but not both.')
        steps, bare = await self.runbook(request, tx, row, key)
        return {**given, f"{verb}_steps": steps, "disable_ramdisk": bare or given.get("disable_ramdisk")}

    async def _advance(self, request: Request, tx: Tx, row: Row, verb: str, given: dict[str, Any]) -> None:
        who = request.caller
        await command(
            tx, self.nodes.secrets, row, verb, given, request_id=request.id, user=who.user_id, project=who.project_id
        )

    # -- power and the BMC -------------------------------------------------------------------------------------

    async def power(self, request: Request) -> Response:
        given = arguments(await request.json(), ("target", "timeout"), ("target",))
        target, timeout = string("target", given["target"]) or "", integer("timeout", given.get("timeout"))

        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, "set_power_state")
            if target in SOFT or timeout:
                require(request, 27)
            if timeout is not None and timeout < 1:
                raise Invalid("timeout has to be positive integer")
            check_power(row, request.params["id"], target)
            goal = {"target_power_state": POWER_RESULT[target], "last_error": None}
            await self.want(request, tx, row, goal, power={"target": target, "timeout": timeout})

        await self.db.write(change)
        return accepted(request, "states")

    async def boot_mode(self, request: Request) -> Response:
        target = string("target", arguments(await request.json(), ("target",), ("target",))["target"])

        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, "set_boot_mode")
            _since_76(request)
            if target not in ("bios", "uefi"):
                raise Invalid(f"Invalid boot mode {target} requested for node. Allowed boot modes are: bios, uefi")
            check_settled(row)
            await self.want(request, tx, row, {}, boot_mode=target)

        await self.db.write(change)
        return accepted(request, "states")

    async def secure_boot(self, request: Request) -> Response:
        target = boolean("target", arguments(await request.json(), ("target",), ("target",))["target"])

        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, "set_secure_boot")
            _since_76(request)
            if target is None:
                raise Invalid(
                    "Invalid secure_boot None requested for node. Allowed secure_boot states are: True, False) "
                )
            check_settled(row)
            await self.want(request, tx, row, {}, secure_boot=target)

        await self.db.write(change)
        return accepted(request, "states")

    async def raid(self, request: Request) -> Response:
        config = await request.json()
        if not isinstance(config, dict):
            raise Invalid("Expected types <class 'dict'> for target_raid_config: " + str(config))

        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, "set_raid_state")
            require(request, 12)
            if (row["raid_interface"] or "no-raid").startswith("no-"):
                raise NotFound(f"Driver {row['driver']} does not support raid (disabled or not implemented).")
            _check_raid(config)
            await self.nodes.store(tx, row, {"target_raid_config": config})

        await self.db.write(change)
        return empty(204)

    async def console(self, request: Request) -> Response:
        row = await self.nodes.need(request, self.db, "get_console")
        if not node_console.has_console(row):
            raise unsupported(row, "console")
        info = node_console.info(request, self.nodes.secrets, row) if row["console_enabled"] else None
        return json_response(200, {"console_enabled": bool(row["console_enabled"]), "console_info": info})

    async def set_console(self, request: Request) -> Response:
        given = arguments(await request.json(), ("enabled",), ("enabled",))
        enabled = boolean("enabled", given["enabled"])

        async def change(tx: Tx) -> None:
            row = await self.nodes.need(request, tx, "set_console_state")
            if not node_console.has_console(row):
                raise unsupported(row, "console")
            await self.want(request, tx, row, {"console_enabled": bool(enabled)})

        await self.db.write(change)
        return accepted(request, "states/console")

    async def want(self, request: Request, tx: Tx, row: Row, changes: Row, **wanted: Any) -> None:
        """Store what the BMC shall do, and wake who tells it."""
        await want(tx, row, changes, request_id=request.id, **wanted)

    def routes(self) -> Sequence[Route]:
        states, noun = V1 + "/nodes/{id}/states", "baremetal:node:"
        puts = (
            ("provision", self.provision, "set_provision_state"), ("power", self.power, "set_power_state"),
            ("boot_mode", self.boot_mode, "set_boot_mode"), ("secure_boot", self.secure_boot, "set_secure_boot"),
            ("console", self.set_console, "set_console_state"),
        )  # fmt: skip
        return [
            Route("GET", states, self.states, "node:states", rule=noun + "get_states"),
            *(Route("PUT", f"{states}/{name}", handler, f"node:{rule}", rule=noun + rule, status=202,
                    body=BODIES[name])
              for name, handler, rule in puts),
            Route("PUT", states + "/raid", self.raid, "node:set_raid_state", rule=noun + "set_raid_state", status=204),
            Route("GET", states + "/console", self.console, "node:get_console", rule=noun + "get_console"),
        ]  # fmt: skip


def accepted(request: Request, below: str) -> Response:
    """202 with where to look for what becomes of it."""
    return empty(202, {"location": f"{request.url}/v1/nodes/{request.params['id']}/{below}"})


def unsupported(row: Row, what: str) -> Invalid:
    return Invalid(f"Driver {row['driver']} does not support {what} (disabled or not implemented).")


def _since_76(request: Request) -> None:
    if not at(request, 76):
        raise NotFound("This endpoint is supported starting with the API version 1.76")


def _check_version(request: Request, row: Row, verb: str) -> None:
    if verb in MIN_VERB:
        require(request, MIN_VERB[verb])
    if verb == "abort":
        require(request, {"inspect wait": 41, "wait call-back": 110}.get(row["provision_state"], 13))


def _check_arguments(request: Request, verb: str, given: dict[str, Any]) -> None:
    if given.get("configdrive"):
        if verb not in DEPLOYS:
            raise Invalid("Adding a config drive is only supported when setting provision state to active, rebuild")
        require(request, 56 if isinstance(given["configdrive"], dict) else 35 if verb == "rebuild" else 1)
    only = {"clean_steps": "clean", "service_steps": "service", "rescue_password": "rescue"}
    for name, right in only.items():
        if given.get(name) is not None and verb != right:
            raise Invalid(f'"{name}" is only valid when setting target provision state to {right}')
    if given.get("deploy_steps"):
        require(request, 69)
        if verb not in DEPLOYS:
            raise Invalid('"deploy_steps" is only valid when setting target provision state to active or rebuild')
        check_steps("deploy_steps", given["deploy_steps"], needs=("interface", "step", "args", "priority"))
    if boolean("disable_ramdisk", given.get("disable_ramdisk")):
        require(request, {"clean": 70, "service": 108}.get(verb, 10_000))
    if verb == "rescue" and not str(given.get("rescue_password") or "").strip():
        raise Invalid('A non-empty "rescue_password" is required when setting target provision state to rescue')
    for kind in ("clean", "service"):
        if verb == kind:
            if not given.get(f"{kind}_steps"):
                raise Invalid(f'"{kind}_steps" is required when setting target provision state to {kind}')
            check_steps(f"{kind}_steps", given[f"{kind}_steps"], needs=("interface", "step"))


def _check_ready(row: Row, targets: Sequence[Row]) -> None:
    """A deployment that cannot work is refused with the reason."""
    answer = validate(row, targets)
    for interface in ("power", "deploy", "boot", "storage"):
        if answer[interface].get("result") is False:
            raise Invalid(
                f"Failed to validate deploy or power info for node {row['id']}. Error: {answer[interface]['reason']}"
            )


def _check_raid(config: dict[str, Any]) -> None:
    if config and not isinstance(config.get("logical_disks"), list):
        raise Invalid("RAID config validation error: 'logical_disks' is a required property")
    for disk in config.get("logical_disks", ()):
        for name in ("size_gb", "raid_level"):
            if not isinstance(disk, dict) or name not in disk:
                raise Invalid(f"RAID config validation error: '{name}' is a required property")
