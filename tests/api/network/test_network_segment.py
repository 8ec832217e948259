"""Segments: each network's one, as administrators see and name it."""

from typing import Any

from tests.api.network.net import ZERO, Net


def of(root: Net, network: dict[str, Any]) -> dict[str, Any]:
    [segment] = root.get("/segments", network_id=network["id"])["segments"]
    return dict(segment)


def test_each_network_has_one(root: Net, alice: Net) -> None:
    network = alice.network()
    segment = of(root, network)
    assert set(segment) == {
        "id", "network_id", "name", "description", "network_type", "physical_network", "segmentation_id", "tags",
        "revision_number", "created_at", "updated_at",
    }  # fmt: skip
    seen = root.show("network", network)
    assert (segment["network_type"], segment["segmentation_id"]) == ("geneve", seen["provider:segmentation_id"])
    changed = root.change("segment", segment, name="rack 1", description="d")
    assert (changed["name"], changed["revision_number"]) == ("rack 1", segment["revision_number"] + 1)
    root.ask("PUT", f"/segments/{segment['id']}/tags/red", status=201)
    assert root.show("segment", segment)["tags"] == ["red"]
    assert root.get("/segments", name="rack 1", network_type="vlan")["segments"] == []
    alice.refused("GET", f"/segments/{segment['id']}", None, 404, "SegmentNotFound")
    assert alice.get("/segments")["segments"] == []
    alice.delete("network", network)
    text = f"Segment {segment['id']} could not be found."
    root.refused("GET", f"/segments/{segment['id']}", None, 404, "SegmentNotFound", text)


def test_it_follows_the_networks_vlan(root: Net) -> None:
    network = root.network(**{"provider:network_type": "vlan", "provider:physical_network": "ext",
                              "provider:segmentation_id": 2001})  # fmt: skip
    assert (of(root, network)["physical_network"], of(root, network)["segmentation_id"]) == ("ext", 2001)
    root.change("network", network, **{"provider:segmentation_id": 2002})
    assert of(root, network)["segmentation_id"] == 2002
    root.delete("network", network)


def test_there_is_no_second_one_and_the_one_stays(root: Net, alice: Net) -> None:
    network = alice.network()
    segment = of(root, network)
    body = {"network_id": network["id"], "network_type": "vlan", "physical_network": "ext", "segmentation_id": 2003}
    root.refused("POST", "/segments", {"segment": body}, 400, "InvalidInput", "can have no other one")
    root.refused("POST", "/segments", {"segment": body | {"network_id": ZERO}}, 404, "NetworkNotFound")
    root.refused("DELETE", f"/segments/{segment['id']}", None, 409, "SegmentInUse",
                 f"Segment '{segment['id']}' cannot be deleted: ")  # fmt: skip
    alice.refused("POST", "/segments", {"segment": body}, 403, "PolicyNotAuthorized")


def test_subnets_of_a_segment(root: Net, alice: Net) -> None:
    network, other = root.network(), root.network()
    segment = of(root, network)
    one = root.subnet(network, segment_id=segment["id"])
    assert one["segment_id"] == segment["id"]
    text = "must either all be associated with segments or all not associated with any segment"
    body = {"network_id": network["id"], "cidr": "10.251.0.0/24", "ip_version": 4}
    root.refused("POST", "/subnets", {"subnet": body}, 400, "SubnetsNotAllAssociatedWithSegments", text)
    foreign = {"subnet": body | {"network_id": other["id"], "segment_id": segment["id"]}}
    root.refused("POST", "/subnets", foreign, 400, "NetworkIdsDontMatch")
    root.refused("POST", "/subnets", {"subnet": body | {"segment_id": ZERO}}, 404, "SegmentNotFound")
    root.refused("PUT", f"/subnets/{one['id']}", {"subnet": {"segment_id": None}}, 400,
                 "SubnetSegmentAssociationChangeNotAllowed")  # fmt: skip
    later = root.subnet(other)
    assert root.change("subnet", later, segment_id=of(root, other)["id"])["segment_id"] == of(root, other)["id"]
    mine = alice.network()
    body = {"network_id": mine["id"], "cidr": "10.251.0.0/24", "ip_version": 4, "segment_id": of(root, mine)["id"]}
    alice.refused("POST", "/subnets", {"subnet": body}, 403, "PolicyNotAuthorized", "create_subnet:segment_id")
    root.refused("DELETE", f"/segments/{segment['id']}", None, 409, "SegmentInUse",
                 f"The segment is still associated with subnet(s) {one['id']}")  # fmt: skip
