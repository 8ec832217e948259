"""Pools: what is in them, and what is said when none of them takes a volume."""

from tests.api.volume.conftest import Volumes

BACKEND = "hagane@sim"


def test_a_pool_tells_how_much_was_promised_of_it(root: Volumes, volumes: Volumes) -> None:
    def promised() -> int:
        pools = root.ask("GET", "/scheduler-stats/get_pools?detail=true")["pools"]
        return int(next(p for p in pools if p["name"] == f"{BACKEND}#sim")["capabilities"]["allocated_capacity_gb"])

    before = promised()
    made = volumes.make(size=3)
    assert promised() == before + 3
    volumes.ask("DELETE", f"/volumes/{made['id']}", status=202)
    volumes.cloud.settle()
    assert promised() == before


def test_a_volume_without_a_place_says_that_all_are_disabled(root: Volumes, volumes: Volumes) -> None:
    service = {"binary": "cinder-volume", "host": BACKEND}
    root.ask("PUT", "/os-services/disable", service)
    try:
        made = volumes.make()
    finally:
        root.ask("PUT", "/os-services/enable", service)
    assert made["status"] == "error"
    said = volumes.ask("GET", "/messages")["messages"]
    assert "every storage backend that answers is disabled" in next(
        one["user_message"] for one in said if one["resource_uuid"] == made["id"]
    )
