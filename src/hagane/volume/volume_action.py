"""What an owner does to a volume: extend, upload, retype, revert, reimage, flags, image metadata."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hagane.api.http import Request
from hagane.api.types import BadValue, Custom, Enum, Obj, Str, Type, Uuid
from hagane.cloud import Cloud
from hagane.errors import Conflict, Forbidden, Invalid, NotFound
from hagane.image.base import ImagePolicy
from hagane.image.store import base_image, new_image
from hagane.state import clock
from hagane.state.database import Row, Tx
from hagane.state.work import wake
from hagane.volume import attach, base, quota, type_row
from hagane.volume.base import at, bad_volume, invalid, need, target
from hagane.volume.export import EXPORT
from hagane.volume.kinds import ANY, BOOLEAN, SIZE, WORD
from hagane.volume.row import IMAGE, SNAPSHOT, VOLUME, store_items
from hagane.volume.task import type_counts
from hagane.volume.type_encryption import refuse_encrypted
from hagane.volume.verb import Answer, Verb
from hagane.volume.volume import find
from hagane.volume.volume_create import fits

_FORMATS = ("raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop")
_OURS = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx")
_UPLOAD: dict[str, Type] = {
    "image_name": Str(255, min=1), "force": BOOLEAN, "disk_format": Enum(values=_FORMATS), "container_format": WORD,
}  # fmt: skip
_UPLOAD_31 = _UPLOAD | {
    "visibility": Enum(values=("community", "public", "private", "shared")), "protected": BOOLEAN,
}  # fmt: skip
_CORE = frozenset({"checksum", "container_format", "disk_format", "image_name", "image_id", "min_disk", "min_ram",
                   "name", "size"})  # fmt: skip
_NO_RETYPE = (
    "Retype needs volume to be in available or in-use state, not be part of an active migration or a consistency group,"
    " requested type has to be different that the one from the volume, and for in-use volumes front-end qos specs"
    " cannot change."
)
Change = Callable[[Tx, Row], Awaitable[Answer]]


def _texts(field: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadValue(field, value, f"{value!r} is not of type 'object'")
    return {Str(255, min=1).check(field, key): Str(65535).check(f"{field}.{key}", text) for key, text in value.items()}


_TEXTS = Custom(rule=_texts, json_schema={"type": "object", "additionalProperties": {"type": "string"}})


class OwnerActions:
    """The verbs of a volume's owner."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.db = cloud, cloud.db

    async def _on(self, request: Request, change: Change) -> Answer:
        """Run a change of the volume in one transaction."""

        async def work(tx: Tx) -> Answer:
            return await change(tx, await find(request, tx, request.params["id"]))

        return await self.db.write(work)

    async def _begin(self, tx: Tx, row: Row, status: str, task: dict[str, Any], request: Request) -> None:
        """Hand the volume to the reconciler: it has the status until its task is over."""
        changes: Row = {"status": status, "previous_status": row["status"], "task": task, "updated_at": clock.now()}
        await VOLUME.update(tx, {"id": row["id"]}, changes | {"generation": row["generation"] + 1})
        await wake(tx, base.VOLUME, row["id"], request_id=request.id)

    async def extend(self, request: Request, body: dict[str, Any]) -> Answer:
        size = body["new_size"]

        async def change(tx: Tx, row: Row) -> Answer:
            attached = at(request, 42) and row["status"] == "in-use"
            need(request, "volume:extend_attached_volume" if attached else "volume:extend", target(row))
            if size <= row["size"]:
                raise invalid(f"New size for extend must be greater than current size. (current: {row['size']},"
                              f" extended: {size}).")  # fmt: skip
            expected = {"status": "in-use" if attached else "available"}
            if row["status"] != expected["status"]:
                raise bad_volume(f"Volume {row['id']} status must be '{expected}' to extend, currently"
                                 f" {row['status']}.")  # fmt: skip
            if attached and await EXPORT.count(tx, {"volume_id": row["id"]}):
                raise bad_volume(f"Volume {row['id']} is in use over iSCSI, where nobody can be told of a new size:"
                                 " detach it, extend it, and attach it again.")  # fmt: skip
            name = (await type_row.names_of(tx, [row["type_id"]])).get(row["type_id"], "")
            more = quota.with_type({"gigabytes": size - row["size"]}, name)
            await quota.take(tx, row["project_id"], more, "volumes", size=size)
            await self._begin(tx, row, "extending", {"size": size}, request)
            return None

        return await self._on(request, change)

    async def upload(self, request: Request, body: dict[str, Any]) -> Answer:
        fields = _UPLOAD_31 if at(request, 1) else _UPLOAD
        body = Obj(fields=fields, required=("image_name",)).check("os-volume_upload_image", body)

        async def change(tx: Tx, row: Row) -> Answer:
            need(request, "volume_extension:volume_actions:upload_image", target(row))
            if body.get("visibility") == "public":
                need(request, "volume_extension:volume_actions:upload_public", target(row))
            allowed = ("available", "in-use") if body.get("force") else ("available",)
            if row["status"] not in allowed:
                raise bad_volume(f"Volume {row['id']} status must be {' or '.join(allowed)}")
            return await self._upload(request, tx, row, body)

        return await self._on(request, change)

    async def _upload(self, request: Request, tx: Tx, row: Row, body: dict[str, Any]) -> Answer:
        chosen, container = body.get("disk_format", "raw"), body.get("container_format") or "bare"
        if chosen not in _OURS or container != "bare":
            raise Invalid(f"A volume cannot be uploaded as {chosen} in a {container} container here.", code="Format")
        await self._may_make_image(request)
        more = {name: value for name, value in (row["image_metadata"] or {}).items() if name not in _CORE}
        extra = {"visibility": body.get("visibility", "private"), "protected": body.get("protected", False)}
        image_id = await new_image(
            tx, name=body["image_name"], owner=request.caller.project_id, properties=more, disk_format=chosen,
            container_format=container, **(extra if at(request, 1) else {"visibility": "shared"}),
        )  # fmt: skip
        await self._begin(tx, row, "uploading", {"image_id": image_id, "disk_format": chosen}, request)
        kind = await type_row.TYPE.get(tx, id=row["type_id"])
        answer = {
            "id": row["id"], "updated_at": row["updated_at"], "status": "uploading", "size": row["size"],
            "display_description": row["description"], "volume_type": _type_view(kind), "image_id": image_id,
            "container_format": container, "disk_format": chosen, "image_name": body["image_name"],
        }  # fmt: skip
        return {"os-volume_upload_image": answer | (extra if at(request, 1) else {})}

    async def _may_make_image(self, request: Request) -> None:
        """The image service's own rule. Raises Forbidden."""
        mine = {"owner": request.caller.project_id, "visibility": "private", "id": ""}
        if not self.cloud.use(ImagePolicy).allows(request.caller, "add_image", mine):
            raise Forbidden("Policy doesn't allow add_image to be performed.", code="PolicyNotAuthorized")

    async def retype(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            need(request, "volume:retype", target(row))
            new = await type_row.find(request, tx, body["new_type"])
            refuse_encrypted(new)
            multiattach = type_row.is_multiattach(new)
            if multiattach != bool(row["multiattach"]):
                if row["status"] != "available":
                    raise invalid("Invalid volume_type passed, retypes affecting multiattach are only allowed on"
                                  " available volumes, the specified volume however currently has a status of:"
                                  f" {row['status']}.")  # fmt: skip
                if multiattach:
                    need(request, "volume:multiattach", target(row))
            if row["status"] not in ("available", "in-use") or new["id"] == row["type_id"] or row["group_id"]:
                raise bad_volume(_NO_RETYPE)
            await quota.take(tx, row["project_id"], await type_counts(tx, row, new["name"]), "volumes")
            await self._begin(tx, row, "retyping", {"type_id": new["id"]}, request)
            return None

        return await self._on(request, change)

    async def revert(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            rows = await SNAPSHOT.select(tx, {"volume_id": row["id"]}, order="created_at DESC, id DESC", limit=1)
            if not rows:
                raise Invalid(f"Volume {row['id']} doesn't have any snapshots.", code="NoSnapshots")
            latest, wanted = rows[0], body.get("snapshot_id")
            if wanted != latest["id"]:
                raise Invalid(f"Specified snapshot {wanted} is None or not the latest one of volume {row['id']}.",
                              code="NotLatest")  # fmt: skip
            if row["size"] != latest["size"]:
                raise Invalid(f"Can't revert volume {row['id']} to its latest snapshot {latest['id']}. The volume size"
                              " must be equal to the snapshot size.", code="SizeDiffers")  # fmt: skip
            need(request, "volume:revert_to_snapshot", target(row))
            start = f"Can't revert volume {row['id']} to its latest snapshot {latest['id']}."
            if row["status"] != "available":
                raise Conflict(f"Invalid volume: {start} Volume's status must be 'available'.", code="InvalidVolume")
            if latest["status"] != "available":
                text = f"Invalid snapshot: {start} Snapshot's status must be 'available'."
                raise Conflict(text, code="InvalidSnapshot")
            await SNAPSHOT.update(tx, {"id": latest["id"]}, {"status": "restoring", "updated_at": clock.now()})
            await self._begin(tx, row, "reverting", {"snapshot_id": latest["id"]}, request)
            return None

        return await self._on(request, change)

    async def reimage(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            reserved = row["status"] == "reserved"
            need(request, "volume:reimage_reserved" if reserved else "volume:reimage", target(row))
            if len(await attach.attachments(tx, row["id"])) > 1:
                raise Conflict("Cannot re-image a volume which is attached to more than one server.", code="Attached")
            allowed = ("available", "error", *(("reserved",) if body.get("reimage_reserved") else ()))
            if row["status"] not in allowed:
                words = ", ".join(allowed[:-1]) + f" or {allowed[-1]}"
                raise bad_volume(f"Volume {row['id']} status must be {words}, but current status is {row['status']}.")
            image = await base_image(tx, self.cloud, body["image_id"], caller=request.caller)
            fits(image, row["size"])
            await self._begin(tx, row, "downloading", {"image_id": image.id}, request)
            if row["status"] == "error":
                await VOLUME.update(tx, {"id": row["id"]}, {"previous_status": "available"})
            return None

        return await self._on(request, change)

    async def readonly(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            need(request, "volume:update_readonly_flag", target(row))
            if row["status"] != "available":
                raise bad_volume(f"Volume {row['id']} status must be available to update readonly flag, but current"
                                 f" status is: {row['status']}.")  # fmt: skip
            hidden = (row["admin_metadata"] or {}) | {"readonly": str(body["readonly"])}
            await VOLUME.update(tx, {"id": row["id"]}, {"admin_metadata": hidden, "updated_at": clock.now()})
            return None

        return await self._on(request, change)

    async def bootable(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            need(request, "volume:update", target(row))
            changes = {"bootable": body["bootable"], "updated_at": clock.now()}
            await VOLUME.update(tx, {"id": row["id"]}, changes)
            return None

        return await self._on(request, change)

    # -- image metadata ----------------------------------------------------------------------------------------------

    async def show_image_metadata(self, request: Request, body: Any) -> Answer:
        row = await find(request, self.db, request.params["id"])
        need(request, "volume:get_volume_metadata", target(row))
        if not row["image_metadata"]:
            raise NotFound(f"Glance metadata for volume/snapshot {row['id']} cannot be found.", code="NotFound")
        return {"metadata": row["image_metadata"]}

    async def set_image_metadata(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            need(request, "volume_extension:volume_image_metadata:set", target(row))
            old = row["image_metadata"] or {}
            return {"metadata": await _image_metadata(tx, row, old | body["metadata"])}

        return await self._on(request, change)

    async def unset_image_metadata(self, request: Request, body: dict[str, Any]) -> Answer:
        async def change(tx: Tx, row: Row) -> Answer:
            need(request, "volume_extension:volume_image_metadata:remove", target(row))
            old = row["image_metadata"] or {}
            if body["key"] not in old:
                raise NotFound(f"Glance metadata for volume/snapshot {row['id']} cannot be found.", code="NotFound")
            await _image_metadata(tx, row, {name: text for name, text in old.items() if name != body["key"]})
            return None

        return await self._on(request, change)

    def verbs(self) -> Mapping[str, Verb]:
        flag = Obj(fields={"readonly": BOOLEAN}, required=("readonly",))
        boot = Obj(fields={"bootable": BOOLEAN}, required=("bootable",))
        image = Obj(fields={"image_id": Uuid(), "reimage_reserved": BOOLEAN}, required=("image_id",))
        kind = Obj(
            fields={"new_type": Str(None), "migration_policy": Enum(values=("on-demand", "never"), nullable=True)},
            required=("new_type",),
        )
        words = Obj(fields={"metadata": _TEXTS}, required=("metadata",))
        return {
            "os-extend": Verb(Obj(fields={"new_size": SIZE}, required=("new_size",)), self.extend),
            "os-volume_upload_image": Verb(Obj(fields=_UPLOAD_31, required=("image_name",)), self.upload),
            "os-retype": Verb(kind, self.retype),
            "revert": Verb(Obj(fields={"snapshot_id": Str(None, nullable=True)}, open=True), self.revert, since=40),
            "os-reimage": Verb(image, self.reimage, since=68),
            "os-update_readonly_flag": Verb(flag, self.readonly),
            "os-set_bootable": Verb(boot, self.bootable, status=200),
            "os-show_image_metadata": Verb(ANY, self.show_image_metadata, status=200),
            "os-set_image_metadata": Verb(words, self.set_image_metadata, status=200),
            "os-unset_image_metadata": Verb(
                Obj(fields={"key": Str(255, min=1)}, required=("key",)), self.unset_image_metadata, status=200
            ),
        }  # fmt: skip


async def _image_metadata(tx: Tx, row: Row, new: dict[str, str]) -> dict[str, str]:
    await VOLUME.update(tx, {"id": row["id"]}, {"image_metadata": new or None, "updated_at": clock.now()})
    await store_items(tx, row["id"], IMAGE, row["image_metadata"] or {}, new)
    return new


def _type_view(kind: Row | None) -> dict[str, Any] | None:
    """A type as the upload's answer shows it, which is more than elsewhere."""
    if kind is None:
        return None
    return {
        "id": kind["id"], "name": kind["name"], "description": kind["description"], "deleted": False,
        "is_public": kind["is_public"], "qos_specs_id": kind["qos_specs_id"], "extra_specs": kind["extra_specs"],
        "created_at": kind["created_at"], "updated_at": kind["updated_at"], "deleted_at": None, "projects": [],
    }  # fmt: skip
