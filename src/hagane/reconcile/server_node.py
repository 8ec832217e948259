"""Servers that are Nodes: claims one, has it deployed, follows it. Read server_node_plan.py first: it says what is done
when. Nothing here talks to a machine: the Node's own reconciler does (reconcile/node.py), told by verbs.

    rows ─▶ place the new ones (one transaction) ─▶ their Nodes (one query) ─▶ each: plan ─▶ tell the Node or the row
"""

import asyncio
import base64
import gzip
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hagane.baremetal import plug, san_target, vif
from hagane.baremetal.command import command, store, want
from hagane.baremetal.driver import validate
from hagane.baremetal.node import NODE
from hagane.baremetal.node_rule import POWER_RESULT, check_power, check_verb
from hagane.baremetal.node_secret import opened, sealed
from hagane.cloud import Cloud
from hagane.compute import device, metadata, nic
from hagane.compute.flavor_node import NodeWish, wish_of
from hagane.compute.row import KIND, SERVER, Task, VmState
from hagane.drivers import configdrive
from hagane.errors import DeviceFailed, HaganeError, Invalid, NotFound
from hagane.image import store as images
from hagane.image.store import ImageInfo
from hagane.reconcile import server_end, server_node_end, server_node_plan, server_node_volume
from hagane.reconcile.engine import Answer, Done, Failed, Outcome, Wait
from hagane.reconcile.server_node_events import late, mirrored, percent
from hagane.reconcile.server_node_place import facts, place
from hagane.reconcile.server_node_plan import (
    Ask,
    Deploy,
    Elsewhere,
    Fail,
    Fence,
    Finish,
    Follow,
    Forget,
    Notice,
    Place,
    Plug,
    Release,
)
from hagane.reconcile.server_reach import Reach
from hagane.reconcile.server_steps import Overtaken
from hagane.state import clock, event
from hagane.state.database import Row, Tx
from hagane.state.secret import Secrets

GATHER = 0.3  # seconds in which a Node's steps are gathered before they are written
LOOK = 30.0  # seconds between looks at a Node that is at work; it wakes its Server when something changes


class NodeServers:
    """The part of the Servers' reconciler for those that are Nodes."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._db, self._secrets = cloud, cloud.db, cloud.use(Secrets)
        self._reach = Reach(cloud)
        self._quiet: dict[str, float] = {}  # Server -> when its steps may be written again
        self._told: dict[str, list[Row]] = {}  # Server -> its Node's steps as they were last written

    async def reconcile(self, rows: dict[str, Row]) -> Mapping[str, Answer]:
        """The outcome of each, or the work that leads to it."""
        nodes = await self._nodes(rows.values())
        fresh = [key for key, row in rows.items()
                 if isinstance(server_node_plan.plan(row, nodes.get(row["node_id"])), Place)]  # fmt: skip
        if fresh:
            rows = rows | await self._db.write(lambda tx: place(tx, self._secrets, fresh))
            nodes = await self._nodes(rows.values())
        return {key: self._step(row, nodes.get(row["node_id"])) for key, row in rows.items()}

    async def _nodes(self, rows: Any) -> dict[str, Row]:
        ids = [row["node_id"] for row in rows if row["node_id"]]
        return {node["id"]: node for node in await NODE.select(self._db, {"id": ids})} if ids else {}

    async def _step(self, row: Row, node: Row | None) -> Outcome:
        step = server_node_plan.plan(row, node)
        match step:
            case Forget() | Release():
                self._forget(row["id"])
                self._reach.end(row["id"])
                return await server_node_end.forget(self._cloud, row, release=isinstance(step, Release))
            case Elsewhere(why):
                return await server_node_end.elsewhere(self._cloud, row, why)
            case Fail(why, fatal):
                return await server_node_end.failed(self._db, row, why, fatal=fatal)
            case Fence():
                return await server_node_end.fenced(self._cloud, row)
            case Notice(changes, why):
                return await server_node_end.noticed(self._db, row, changes, why)
            case Place():
                return Wait(0.0, "It looks for a bare-metal node.")
        if row["task_state"] is None and row["node_id"] is None:
            return Failed((row["fault"] or {}).get("details") or "It has no bare-metal node.")
        return await self._with(row, node, step) if node is not None else Done()

    async def _with(self, row: Row, node: Row, step: Any) -> Outcome:
        """Steps that have a Node."""
        match step:
            case Deploy():
                return await self._deploy(row, node)
            case Ask(verb, power):
                return await self._ask(row, verb, power=power)
            case Follow(why):
                return await self._follow(row, node, why)
            case Finish(changes):
                return await self._finish(row, node, changes)
            case Plug():
                return await self._plug(row)
        return await self._settled(row, node)

    async def _settled(self, row: Row, node: Row) -> Outcome:
        """Nothing is to be done; what was seen of the deployment since it ended is told."""
        steps = late(row, node)
        if steps and steps != self._told.get(row["id"]):
            await self._db.write(lambda tx: event.record(tx, KIND, row["id"], row["request_id"], row["action"], steps))
            self._told[row["id"]] = steps
        return Done()

    async def _finish(self, row: Row, node: Row, changes: Row) -> Outcome:
        self._forget(row["id"])
        deployed = row["vm_state"] == VmState.BUILDING or row["task_state"] == Task.REBUILDING
        outcome = await server_node_end.finished(self._db, row, node, changes)
        if deployed and row["nics"]:
            self._reach.begin(row, (await nic.ports_of(self._db, [row]))[row["id"]])
        return outcome

    def _forget(self, key: str) -> None:
        self._told.pop(key, None)
        self._quiet.pop(key, None)

    async def stop(self) -> None:
        await self._reach.stop()

    async def _follow(self, row: Row, node: Row, why: str) -> Outcome:
        """The Node is at it: its steps are the Server's, as they are now."""
        began, steps = clock.seconds(row["acted_at"]), mirrored(row, node)
        before = self._told.get(row["id"], [])
        if pause := max(0.0, self._quiet.get(row["id"], began + GATHER) - clock.wall()):
            return Wait(pause, why)
        if changed := [step for step in steps if step not in before]:

            async def write(tx: Tx) -> None:
                where = {"id": row["id"], "generation": row["generation"]}
                if await SERVER.update(tx, where, {"progress": percent(row, node)}):
                    await event.record(tx, KIND, row["id"], row["request_id"], row["action"], changed)

            await self._db.write(write)
            self._told[row["id"]], self._quiet[row["id"]] = steps, clock.wall() + GATHER
        return Wait(LOOK, why)

    # -- telling the Node --------------------------------------------------------------------------------------------

    async def _deploy(self, row: Row, node: Row) -> Outcome:
        """Give the claimed Node its image or its volume, its config drive, and the word."""
        try:
            row, wait = await server_node_volume.prepare(self._cloud, row)
            if wait:
                return wait
            image = await self._image(row)
        except (NotFound, DeviceFailed) as error:
            return await server_node_end.elsewhere(self._cloud, row, error.message, final=True)
        except Overtaken:
            return Wait(0.0, "Something else came between.")
        return await self._told_to(row, node, "active", image)

    async def _told_to(self, row: Row, node: Row, verb: str, image: ImageInfo | None) -> Outcome:
        wish, drive = wish_of(row["flavor"]) or NodeWish(""), await self._drive(row) if image else ""
        more = facts(row, wish) | (image_facts(image) if image else {})

        async def write(tx: Tx) -> bool:
            fresh = await self._mine(tx, row)
            if fresh is None:
                return False
            check_verb(fresh, verb)
            check_ready(fresh, await san_target.targets(tx, fresh["id"]))
            info = opened(self._secrets, fresh)["instance_info"] | more
            fresh = await store(tx, fresh, sealed(self._secrets, fresh, {"instance_info": info}))
            await self._command(tx, row, fresh, verb, {"configdrive": drive})
            return True

        try:
            told = await self._db.write(write)
        except HaganeError as error:
            if row["task_state"] == Task.REBUILDING:
                return await server_node_end.failed(self._db, row, error.message, fatal=True)
            return await server_node_end.elsewhere(self._cloud, row, error.message)
        why = f"Node {node['id']} was told to deploy." if told else "Something else came between."
        return Wait(LOOK if told else 0.0, why)

    async def _mine(self, tx: Tx, row: Row) -> Row | None:
        """The Server's Node as it is in this transaction, if both are still as they were planned for."""
        if await SERVER.count(tx, {"id": row["id"], "generation": row["generation"]}) == 0:
            return None
        node = await NODE.get(tx, id=row["node_id"])
        return node if node is not None and node["instance_id"] == row["id"] else None

    async def _command(self, tx: Tx, row: Row, node: Row, verb: str, given: Row) -> None:
        await SERVER.update(tx, {"id": row["id"]}, {"node_asked": row["generation"]})
        await command(tx, self._secrets, node, verb, given, request_id=row["request_id"], user=row["user_id"],
                      project=row["project_id"])  # fmt: skip

    async def _ask(self, row: Row, verb: str, *, power: bool) -> Outcome:
        """A verb or a power target, once a generation."""
        if verb == "rebuild":
            return await self._rebuild(row)
        secret = server_end.unseal(self._cloud, row["secret"]) if verb == "rescue" else None

        async def write(tx: Tx) -> None:
            node = await self._mine(tx, row)
            if node is None:
                return
            if power:
                check_power(node, node["id"], verb)
                await SERVER.update(tx, {"id": row["id"]}, {"node_asked": row["generation"]})
                goal = {"target_power_state": POWER_RESULT[verb], "last_error": None}
                await want(tx, node, goal, request_id=row["request_id"], power={"target": verb, "timeout": None})
                return
            check_verb(node, verb)
            await self._command(tx, row, node, verb, {"rescue_password": secret} if secret else {})

        try:
            await self._db.write(write)
        except HaganeError as error:
            return await server_node_end.failed(self._db, row, error.message, fatal=row["terminate"])
        return Wait(LOOK, f"Node {row['node_id']} was told: {verb}.")

    async def _rebuild(self, row: Row) -> Outcome:
        node = await NODE.get(self._db, id=row["node_id"])
        try:
            image = await self._image(row)
        except NotFound as error:
            return await server_node_end.failed(self._db, row, error.message, fatal=True)
        if node is None:
            return Wait(0.0, "Its node went away.")
        return await self._told_to(row, node, "rebuild", image)

    async def _image(self, row: Row) -> ImageInfo | None:
        """What is written to the Node's disk; None where it boots from a volume. Raises NotFound."""
        if device.root(row) is not None:
            return None
        return await images.base_image(self._db, self._cloud, row["image_id"])

    async def _drive(self, row: Row) -> str:
        """The config drive as the deploying ramdisk takes it; making one takes 2 ms, so it is made in a thread."""
        ports = (await nic.ports_of(self._db, [row]))[row["id"]] if row["nics"] else []
        networks = await nic.networks_of(self._db, ports)
        secret = server_end.unseal(self._cloud, row["secret"])
        files = metadata.documents(row, ports, networks, password=secret, seed=os.urandom(512))
        return await asyncio.to_thread(packed, metadata.on_drive(files))

    # -- NICs --------------------------------------------------------------------------------------------------------

    async def _plug(self, row: Row) -> Outcome:
        """Its Nics carry the Ports that the Server has now; what was taken off is free again."""
        gone = [one for one in row["nics"] if one.get("gone")]

        async def write(tx: Tx) -> None:
            node = await self._mine(tx, row)
            if node is None:
                return
            for one in gone:
                await vif.detach(tx, node["id"], one["port_id"])
            if node["provision_state"] == "active":
                await plug.plug(tx, self._cloud, node, plug.TENANT, request_id=row["request_id"])
            for one in gone:
                await nic.drop(tx, row, one["port_id"], owned=one["owned"])
            changes = {"nics": server_node_end.plain(row["nics"]), "observed_generation": row["generation"]}
            await server_node_end.store(tx, row, changes)
            await event.end_all(tx, KIND, row["id"], row["request_id"])

        try:
            await self._db.write(write)
        except HaganeError as error:
            return await self._unplugged(row, error.message)
        return Done()

    async def _unplugged(self, row: Row, why: str) -> Outcome:
        """What could not be plugged is given up; what could not be unplugged stays."""
        fresh = [one for one in row["nics"] if one.get("new")]
        left = [one for one in row["nics"] if not one.get("new")]
        kept = row | {"nics": [{name: one[name] for name in ("port_id", "owned", "tag")} for one in left]}

        async def drop(tx: Tx) -> None:
            for one in fresh:
                await vif.detach(tx, row["node_id"], one["port_id"])
                await nic.drop(tx, row, one["port_id"], owned=one["owned"])

        await self._db.write(drop)
        return await server_node_end.failed(self._db, kept, why, fatal=False)


def packed(files: dict[str, bytes]) -> str:
    """A config drive in the form of `configdrive`: an ISO image, gzip, base64."""
    return base64.b64encode(gzip.compress(configdrive.build(files), 6, mtime=0)).decode()


def image_facts(image: ImageInfo) -> Row:
    """What the image API says of the bytes, where the Node's deployment looks for it."""
    return {
        "image_disk_format": image.disk_format, "image_container_format": image.container_format,
        "image_os_hash_algo": image.hash_algo, "image_os_hash_value": image.hash_value,
        "image_properties": dict(image.properties),
    }  # fmt: skip


def check_ready(node: Row, targets: Sequence[Row]) -> None:
    """A deployment that cannot work is refused with the reason. Raises Invalid."""
    answer = validate(node, targets)
    for interface in ("power", "deploy", "boot", "storage"):
        if answer[interface].get("result") is False:
            reason = answer[interface]["reason"]
            raise Invalid(f"Failed to validate deploy or power info for node {node['id']}. Error: {reason}")
