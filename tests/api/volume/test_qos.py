"""QoS specs: kept, refused, and told to whoever attaches a volume of a type that has them."""

from typing import Any
from uuid import uuid4

from tests.api.volume.conftest import Volumes

SERVER = "9f6a4a52-1d0e-4d0c-9a3b-0d6f6b3c1e22"


def _spec(root: Volumes, status: int = 200, **specs: str) -> Any:
    body = {"qos_specs": {"name": uuid4().hex} | specs}
    made = root.ask("POST", "/qos-specs", body, status=status)
    return made["qos_specs"] if status == 200 else made["badRequest"]["message"]


def _typed(root: Volumes, spec: str) -> str:
    kind = root.ask("POST", "/types", {"volume_type": {"name": uuid4().hex}})["volume_type"]["id"]
    root.ask("GET", f"/qos-specs/{spec}/associate?vol_type_id={kind}", status=202)
    return str(kind)


def _told(volumes: Volumes, kind: str, size: int) -> Any:
    """What the connection of a new volume says of its speed."""
    key = volumes.make(volume_type=kind, size=size)["id"]
    body = {"volume_uuid": key, "instance_uuid": SERVER, "connector": {"host": "h"}}
    made = volumes.ask("POST", "/attachments", {"attachment": body})["attachment"]
    volumes.ask("DELETE", f"/attachments/{made['id']}")
    return made["connection_info"]["data"]["qos_specs"]


def test_a_host_is_told_how_fast_a_volume_may_be(root: Volumes, volumes: Volumes) -> None:
    fast = _spec(root, consumer="front-end", read_iops_sec="500", write_bytes_sec_per_gb="1000")
    assert _told(volumes, _typed(root, fast["id"]), 3) == {"read_iops_sec": "500", "write_bytes_sec": "3000"}
    backend = _spec(root, consumer="back-end", read_iops_sec="500")
    assert _told(volumes, _typed(root, backend["id"]), 1) is None
    assert _told(volumes, "__DEFAULT__", 1) is None


def test_what_no_host_can_hold_to_changes_nothing(root: Volumes) -> None:
    assert "whole number" in _spec(root, 400, consumer="both", read_iops_sec="fast")
    made = _spec(root, consumer="back-end", read_iops_sec="fast")
    path = f"/qos-specs/{made['id']}"
    root.ask("PUT", path, {"qos_specs": {"consumer": "front-end"}}, status=400)
    root.ask("PUT", path, {"qos_specs": {"consumer": "front-end", "read_iops_sec": "7"}})
    root.ask("PUT", path, {"qos_specs": {"total_iops_sec": "7"}}, status=400)
    assert root.ask("GET", path)["qos_specs"] == made | {"consumer": "front-end", "specs": {"read_iops_sec": "7"}}
