"""POST /servers: what may be ordered, what is refused and in which words, and that a refusal leaves nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.compute_shop import KEY, Shop, message, shop, upload
from tests.api.people import person
from tests.support import Running


@pytest.fixture(scope="module")
def s(cloud: Running, http: httpx.Client) -> Iterator[Shop]:
    made = shop(cloud, http)
    yield made
    made.alice.http.close()


def test_answer_is_closed(s: Shop) -> None:
    answer = s.order(version="2.1", security_groups=[{"name": "default"}])
    assert answer.status_code == 202
    server = answer.json()["server"]
    assert set(server) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    assert answer.headers["x-compute-request-id"] == answer.headers["x-openstack-request-id"]
    assert answer.headers["location"] == server["links"][0]["href"]
    assert answer.headers["x-openstack-nova-api-version"] == "2.1"
    s.delete(server["id"])


def test_everything_at_once(s: Shop) -> None:
    s.call("POST", "/os-keypairs", json={"keypair": {"name": "key", "public_key": KEY}})
    server_id = s.make(
        name="web server", networks=[{"uuid": s.network, "fixed_ip": "10.7.0.77", "tag": "front"}], key_name="key",
        metadata={"a": "b"}, tags=["x", "y"], description="mine", hostname="web-1", user_data="aGk=",
        config_drive=True, adminPass="secret", accessIPv4="192.0.2.1", accessIPv6="2001:db8:0::1",
        availability_zone="nova", security_groups=[{"name": "default"}],
    )  # fmt: skip
    shown = s.show(server_id)
    assert [a["addr"] for a in shown["addresses"]["net"]] == ["10.7.0.77"]
    assert (shown["key_name"], shown["tags"], shown["description"]) == ("key", ["x", "y"], "mine")
    assert (shown["accessIPv4"], shown["accessIPv6"]) == ("192.0.2.1", "2001:db8::1")
    assert (shown["config_drive"], shown["OS-EXT-SRV-ATTR:hostname"]) == ("True", "web-1")
    assert shown["security_groups"] == [{"name": "default"}]
    assert shown["pinned_availability_zone"] == "nova"
    interfaces = s.call("GET", f"/servers/{server_id}/os-interface").json()["interfaceAttachments"]
    assert [(one["tag"], one["port_state"]) for one in interfaces] == [("front", "ACTIVE")]
    s.delete(server_id)
    assert s.alice.http.get(f"/network/v2.0/ports?device_id={server_id}").json()["ports"] == []


def test_many(s: Shop) -> None:
    answer = s.order(name="many", min_count=2, max_count=3, return_reservation_id=True)
    assert set(answer.json()) == {"reservation_id"}
    listed = s.call("GET", f"/servers?reservation_id={answer.json()['reservation_id']}").json()["servers"]
    assert sorted(one["name"] for one in listed) == ["many-1", "many-2", "many-3"]
    for one in listed:
        s.wait(one["id"])
        s.delete(one["id"])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": ""}, "Invalid input for field/attribute name. Value: . '' is too short"),
        ({"name": "x" * 256}, "is too long"),
        ({"name": 12345}, "Invalid input for field/attribute name. Value: 12345. 12345 is not of type 'string'"),
        ({"name": " web"}, "An invalid 'name' value was provided."),
        ({"imageRef": "-1"}, "Invalid input for field/attribute imageRef. Value: -1. '-1' is not a 'uuid'"),
        ({"imageRef": "5f0b2c9e-0000-4000-8000-000000000000"}, "Can not find requested image"),
        ({"imageRef": ""}, "Missing imageRef attribute"),
        ({"flavorRef": "-1"}, "Flavor -1 could not be found."),
        ({"accessIPv6": "::g"}, "Invalid input for field/attribute accessIPv6. Value: ::g. '::g' is not a 'ipv6'"),
        ({"networks": [{"uuid": "abc"}]}, "Invalid input for field/attribute uuid. Value: abc. 'abc' is not a 'uuid'"),
        ({"networks": [{"uuid": "5f0b2c9e-0000-4000-8000-000000000000"}]}, "Network 5f0b2c9e-0000-4000-8000-000000000000 could not be found."),
        ({"networks": [{"port": "5f0b2c9e-0000-4000-8000-000000000000"}]}, "Port id 5f0b2c9e-0000-4000-8000-000000000000 could not be found."),
        ({"metadata": {"a": "x" * 256}}, "is too long"),
        ({"key_name": "nokey"}, "Invalid key_name provided."),
        ({"user_data": "!"}, "Invalid input for field/attribute user_data. Value: !. '!' is not a 'base64'"),
        ({"min_count": 3, "max_count": 2}, "min_count must be <= max_count"),
        ({"availability_zone": "mars"}, "The requested availability zone is not available"),
        ({"hostname": "a b"}, "Invalid input for field/attribute hostname."),
        ({"block_device_mapping_v2": [{"source_type": "volume", "destination_type": "volume", "uuid": "x"}]}, "Block Device Mapping is Invalid"),
        ({"personality": []}, "Additional properties are not allowed ('personality' was unexpected)"),
        ({"security_groups": [{"name": "nogroup"}], "networks": "auto"}, "Security group nogroup not found."),
    ],
)  # fmt: skip
def test_refusals(s: Shop, body: dict[str, object], says: str) -> None:
    answer = s.order(**body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["badRequest"]["code"] == 400
    assert says in message(answer)
    assert s.call("GET", "/servers").json()["servers"] == []
    ports = s.alice.http.get("/network/v2.0/ports").json()["ports"]
    assert [port for port in ports if port["device_owner"].startswith("compute")] == []


def test_no_body(s: Shop) -> None:
    for body in (None, [], {"server": []}, {}, "x"):
        answer = s.call("POST", "/servers", json=body)
        assert answer.status_code == 400, body


def test_only_administrators_name_a_host(s: Shop) -> None:
    assert s.order(availability_zone="nova:sim1").status_code == 403
    assert s.order(host="sim1").status_code == 403
    body = {"name": "x", "imageRef": s.image, "flavorRef": s.flavor, "networks": "none", "host": "sim2"}
    made = s.call("POST", "/servers", who=s.admin, json={"server": body}).json()["server"]["id"]
    shown = s.wait(made, who=s.admin)
    assert shown["OS-EXT-SRV-ATTR:host"] == "sim2"
    assert s.call("DELETE", f"/servers/{made}", who=s.admin).status_code == 204


def test_an_image_must_fit_the_flavor(s: Shop) -> None:
    big = upload(s.alice.http, min_disk=2)
    assert message(s.order(imageRef=big)).startswith("Flavor's disk is smaller than the minimum size specified")
    hungry = upload(s.alice.http, min_ram=128)
    assert message(s.order(imageRef=hungry)) == "Flavor's memory is too small for requested image."
    empty = s.alice.http.post("/image/v2/images", json={"disk_format": "raw", "container_format": "bare"}).json()["id"]
    assert message(s.order(imageRef=empty)) == f"Image {empty} is not active."


def test_another_projects_things_are_not_there(s: Shop) -> None:
    bob = person(s.cloud)
    body = {"name": "x", "imageRef": s.image, "flavorRef": s.flavor, "networks": [{"uuid": s.network}]}
    answer = s.call("POST", "/servers", who=bob.http, json={"server": body})
    assert (answer.status_code, message(answer)) == (400, f"Network {s.network} could not be found.")
    private = upload(s.alice.http)
    body |= {"imageRef": private, "networks": "none"}
    answer = s.call("POST", "/servers", who=bob.http, json={"server": body})
    assert (answer.status_code, message(answer)) == (400, "Can not find requested image")
    server_id = s.make()
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/ips"), ("GET", "/metadata"), ("GET", "/os-interface"),
                         ("GET", "/os-instance-actions"), ("GET", "/tags")):  # fmt: skip
        answer = s.call(method, f"/servers/{server_id}{path}", who=bob.http)
        assert (answer.status_code, message(answer)) == (404, f"Instance {server_id} could not be found."), path
    assert s.call("POST", f"/servers/{server_id}/action", who=bob.http, json={"os-stop": None}).status_code == 404
    assert s.call("GET", "/servers", who=bob.http).json()["servers"] == []
    bob.http.close()
    s.delete(server_id)


def test_a_port_of_ones_own(s: Shop) -> None:
    port = s.alice.http.post("/network/v2.0/ports", json={"port": {"network_id": s.network}}).json()["port"]
    server_id = s.make(networks=[{"port": port["id"]}])
    answer = s.order(networks=[{"port": port["id"]}])
    assert (answer.status_code, message(answer)) == (409, f"Port {port['id']} is still in use.")
    s.delete(server_id)
    after = s.alice.http.get(f"/network/v2.0/ports/{port['id']}").json()["port"]
    assert (after["device_id"], after["device_owner"]) == ("", "")
    s.alice.http.delete(f"/network/v2.0/ports/{port['id']}")


def test_quota_holds_in_a_race(s: Shop) -> None:
    """Ten servers at most, whoever asks at the same time; refusals name the numbers."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: s.order(), range(24)))
    made = [a.json()["server"]["id"] for a in answers if a.status_code == 202]
    refused = [a for a in answers if a.status_code != 202]
    assert len(made) == 10
    assert {a.status_code for a in refused} == {403}
    assert message(refused[0]).startswith(
        "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"
    )
    limits = s.call("GET", "/limits").json()["limits"]["absolute"]
    assert (limits["totalInstancesUsed"], limits["totalCoresUsed"], limits["totalRAMUsed"]) == (10, 10, 640)
    for server_id in made:
        s.wait(server_id)
        s.delete(server_id)
    assert s.call("GET", "/limits").json()["limits"]["absolute"]["totalInstancesUsed"] == 0
