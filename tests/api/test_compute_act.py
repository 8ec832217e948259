"""Actions, NICs, metadata, tags and what is told about them afterwards."""

import time
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from tests.api.compute_shop import KEY, Shop, message, shop
from tests.support import Running


@pytest.fixture(scope="module")
def s(cloud: Running, http: httpx.Client) -> Iterator[Shop]:
    made = shop(cloud, http)
    yield made
    made.alice.http.close()


@pytest.fixture(scope="module")
def server(s: Shop) -> str:
    return s.make(networks=[{"uuid": s.network}])


def test_stop_and_start(s: Shop, server: str) -> None:
    assert s.act(server, **{"os-stop": None}).status_code == 202
    shown = s.wait(server, "SHUTOFF")
    assert shown["OS-EXT-STS:power_state"] == 4
    assert "progress" not in shown
    answer = s.act(server, **{"os-stop": None})
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'stop' instance {server} while it is in vm_state stopped")  # fmt: skip
    assert s.act(server, **{"os-start": None}).status_code == 202
    assert s.wait(server)["OS-EXT-STS:power_state"] == 1


def test_reboot_pause_rebuild(s: Shop, server: str) -> None:
    before = s.show(server)
    for kind in ("SOFT", "hard"):
        assert s.act(server, reboot={"type": kind}).status_code == 202
        s.wait(server)
    assert s.act(server, pause=None).status_code == 202
    assert s.wait(server, "PAUSED")["OS-EXT-STS:power_state"] == 3
    assert s.act(server, unpause=None).status_code == 202
    s.wait(server)
    answer = s.act(server, rebuild={"imageRef": s.image, "name": "new", "metadata": {"x": "y"}, "adminPass": "pw"})
    assert answer.status_code == 202
    assert answer.json()["server"]["adminPass"] == "pw"
    after = s.wait(server)
    assert (after["name"], after["metadata"]) == ("new", {"x": "y"})
    assert after["addresses"] == before["addresses"]
    assert s.act(server, reboot={"type": "warm"}).status_code == 400


def test_suspend(s: Shop, server: str) -> None:
    assert s.act(server, suspend=None).status_code == 202
    shown = s.wait(server, "SUSPENDED")
    assert (shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:power_state"]) == ("suspended", 4)
    answer = s.act(server, suspend=None)
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'suspend' instance {server} while it is in vm_state suspended")  # fmt: skip
    assert [one["id"] for one in s.call("GET", "/servers?status=SUSPENDED").json()["servers"]] == [server]
    assert s.act(server, resume=None).status_code == 202
    s.wait(server)
    assert s.act(server, resume=None).status_code == 409


def test_resize(s: Shop) -> None:
    server = s.make()
    large = {"name": "large", "ram": 128, "vcpus": 2, "disk": 2, "id": "large"}
    assert s.call("POST", "/flavors", who=s.admin, json={"flavor": large}).status_code == 200
    small = {"name": "flat", "ram": 128, "vcpus": 1, "disk": 0, "id": "flat"}
    assert s.call("POST", "/flavors", who=s.admin, json={"flavor": small}).status_code == 200
    huge = {"name": "huge", "ram": 128, "vcpus": 200, "disk": 1, "id": "huge"}
    assert s.call("POST", "/flavors", who=s.admin, json={"flavor": huge}).status_code == 200
    for flavor, code, words in (
        ("small", 400, "When resizing, instances must change flavor!"),
        ("nothing", 400, "Flavor nothing could not be found."),
        ("flat", 400, "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed."),
        ("huge", 403, "Quota exceeded for cores: Requested 199, but already used "),
    ):
        answer = s.act(server, resize={"flavorRef": flavor})
        assert (answer.status_code, message(answer)[: len(words)]) == (code, words)
    answer = s.act(server, confirmResize=None)
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'confirmResize' instance {server} while it is in vm_state active")  # fmt: skip
    assert s.act(server, resize={"flavorRef": "large"}).status_code == 202
    shown = s.wait(server, "VERIFY_RESIZE")
    assert (shown["OS-EXT-STS:vm_state"], shown["flavor"]["vcpus"]) == ("resized", 2)
    assert s.act(server, **{"os-stop": None}).status_code == 409
    reset = {"os-resetState": {"state": "active"}}
    assert s.call("POST", f"/servers/{server}/action", who=s.admin, json=reset).status_code == 202
    assert s.show(server)["status"] == "VERIFY_RESIZE"  # it is confirmed or reverted, not forgotten
    assert s.act(server, revertResize=None).status_code == 202
    assert s.wait(server)["flavor"]["vcpus"] == 1
    assert s.act(server, resize={"flavorRef": "large"}).status_code == 202
    s.wait(server, "VERIFY_RESIZE")
    answer = s.act(server, confirmResize=None)
    assert (answer.status_code, answer.content) == (204, b"")
    s.wait(server)
    listed = s.call("GET", f"/os-migrations?instance_uuid={server}", who=s.admin).json()["migrations"]
    assert [(one["migration_type"], one["status"]) for one in listed] == [
        ("resize", "confirmed"),
        ("resize", "reverted"),
    ]
    assert set(listed[0]) == {
        "id", "uuid", "source_compute", "source_node", "dest_compute", "dest_node", "dest_host", "instance_uuid",
        "old_instance_type_id", "new_instance_type_id", "status", "created_at", "updated_at", "migration_type",
        "user_id", "project_id",
    }  # fmt: skip
    oldest = s.call("GET", "/os-migrations", "2.1", who=s.admin).json()["migrations"][0]
    assert not {"migration_type", "uuid", "user_id"} & set(oldest)
    page = s.call("GET", f"/os-migrations?instance_uuid={server}&limit=1", who=s.admin).json()
    assert len(page["migrations"]) == 1 and f"marker={listed[0]['uuid']}" in page["migrations_links"][0]["href"]
    assert s.act(server, migrate=None).status_code == 403
    answer = s.call("POST", f"/servers/{server}/action", who=s.admin, json={"migrate": {"host": "nowhere"}})
    assert (answer.status_code, message(answer)) == (400, "Compute host nowhere could not be found.")
    s.delete(server)


def test_shelve(s: Shop) -> None:
    server = s.make(networks=[{"uuid": s.network}])
    before = s.show(server)
    assert s.act(server, shelve=None).status_code == 202
    shown = s.wait(server, "SHELVED_OFFLOADED")
    assert (shown["OS-EXT-STS:vm_state"], shown["hostId"]) == ("shelved_offloaded", "")
    assert shown["addresses"] == before["addresses"]
    name = f"{shown['name']}-shelved"
    images = s.alice.http.get(f"/image/v2/images?name={name}").json()["images"]
    assert [(image["status"], image["instance_uuid"]) for image in images] == [("active", server)]
    answer = s.call("POST", f"/servers/{server}/action", who=s.admin, json={"shelveOffload": None})
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'shelveOffload' instance {server} while it is in vm_state shelved_offloaded")  # fmt: skip
    assert s.act(server, **{"os-start": None}).status_code == 409
    assert s.act(server, unshelve={"host": "sim1"}).status_code == 403
    assert s.act(server, unshelve={}).status_code == 400
    assert s.act(server, unshelve={"availability_zone": "moon"}).status_code == 400
    assert s.act(server, unshelve=None).status_code == 202
    after = s.wait(server)
    assert (after["addresses"], after["image"]) == (before["addresses"], before["image"])
    assert s.alice.http.get(f"/image/v2/images?name={name}").json()["images"] == []
    assert s.act(server, unshelve=None).status_code == 409
    assert s.act(server, shelve=None).status_code == 202
    s.wait(server, "SHELVED_OFFLOADED")
    s.delete(server)
    assert s.alice.http.get(f"/image/v2/images?name={name}").json()["images"] == []


def test_rescue(s: Shop, server: str) -> None:
    missing = "5f0b2c9e-0000-4000-8000-000000000000"
    answer = s.act(server, rescue={"rescue_image_ref": missing})
    assert (answer.status_code, message(answer)) == (400, f"Image {missing} could not be found.")
    answer = s.act(server, rescue={"adminPass": "pw"})
    assert (answer.status_code, answer.json()) == (200, {"adminPass": "pw"})
    shown = s.wait(server, "RESCUE")
    assert (shown["OS-EXT-STS:vm_state"], shown["image"]["id"]) == ("rescued", s.image)
    answer = s.act(server, rescue=None)
    assert (answer.status_code, message(answer)) == (
        409, f"Cannot 'rescue' instance {server} while it is in vm_state rescued")  # fmt: skip
    assert s.act(server, unrescue=None).status_code == 202
    s.wait(server)


def test_server_password(s: Shop, server: str) -> None:
    path = f"/servers/{server}/os-server-password"
    assert s.call("GET", path).json() == {"password": ""}
    assert s.call("DELETE", path).status_code == 204


def test_backup(s: Shop, server: str) -> None:
    for number in range(3):
        body = {"name": f"day{number}", "backup_type": "daily", "rotation": 2}
        answer = s.act(server, createBackup=body)
        assert (answer.status_code, set(answer.json())) == (202, {"image_id"})
        s.wait(server)
    found = s.alice.http.get("/image/v2/images?backup_type=daily&sort=name:asc").json()["images"]
    assert [(image["name"], image["image_type"], image["status"]) for image in found] == [
        ("day1", "backup", "active"), ("day2", "backup", "active")]  # fmt: skip
    assert s.act(server, createBackup={"name": "x", "backup_type": "daily", "rotation": -1}).status_code == 400
    body = {"name": "none", "backup_type": "daily", "rotation": "0"}
    older = s.call("POST", f"/servers/{server}/action", "2.1", json={"createBackup": body})
    assert (older.status_code, "location" in older.headers) == (202, False)
    s.wait(server)
    assert s.alice.http.get("/image/v2/images?backup_type=daily").json()["images"] == []


def test_live_migration(s: Shop, server: str) -> None:
    def ask(version: str = "2.96", **more: object) -> tuple[int, str]:
        body = {"os-migrateLive": {"host": None, "block_migration": "auto"} | more}
        answer = s.call("POST", f"/servers/{server}/action", version, who=s.admin, json=body)
        return answer.status_code, message(answer) if answer.content else ""

    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    assert s.call("POST", f"/servers/{server}/action", json=body).status_code == 403
    here = s.call("GET", f"/servers/{server}", who=s.admin).json()["server"]["OS-EXT-SRV-ATTR:host"]
    assert ask(host="nowhere") == (400, "Compute host nowhere could not be found.")
    assert ask(host=here) == (400, f"Unable to migrate instance ({server}) to current host ({here}).")
    assert ask("2.30", force=True) == (400, "Can't force to a non-provided destination")
    status, why = ask("2.24", block_migration=False, disk_over_commit=False)
    assert status == 400 and why.startswith(f"{here} is not on shared storage: ")
    assert ask("2.24", block_migration="auto", disk_over_commit=False)[0] == 400
    assert ask() == (202, "")
    s.wait(server)
    assert s.call("GET", f"/servers/{server}", who=s.admin).json()["server"]["OS-EXT-SRV-ATTR:host"] != here
    moves = s.call("GET", "/os-migrations?migration_type=live-migration", who=s.admin).json()["migrations"]
    assert [(one["source_compute"], one["status"]) for one in moves] == [(here, "completed")]
    under_way = f"/servers/{server}/migrations"
    assert s.call("GET", under_way, who=s.admin).json() == {"migrations": []}
    assert s.call("GET", f"{under_way}/999", who=s.admin).status_code == 404
    assert s.call("DELETE", f"{under_way}/{moves[0]['id']}", who=s.admin).status_code == 409
    assert s.call("POST", f"{under_way}/{moves[0]['id']}/action", who=s.admin, json={"x": 1}).status_code == 400


def test_tenant_usage(s: Shop, server: str) -> None:
    gone = s.make(name="gone")
    s.delete(gone)
    project = s.alice.project_id
    usage = s.call("GET", f"/os-simple-tenant-usage/{project}").json()["tenant_usage"]
    assert set(usage) == {
        "tenant_id", "start", "stop", "total_hours", "total_memory_mb_usage", "total_local_gb_usage",
        "total_vcpus_usage", "server_usages",
    }  # fmt: skip
    servers = {one["instance_id"]: one for one in usage["server_usages"]}
    assert (servers[server]["state"], servers[server]["ended_at"]) == ("active", None)
    assert (servers[gone]["state"], servers[gone]["name"]) == ("terminated", "gone")
    assert servers[gone]["hours"] > 0 and usage["total_hours"] >= servers[gone]["hours"]
    assert s.call("GET", "/os-simple-tenant-usage").status_code == 403
    every = s.call("GET", "/os-simple-tenant-usage", who=s.admin).json()["tenant_usages"]
    mine = next(one for one in every if one["tenant_id"] == project)
    assert "server_usages" not in mine
    early = "start=2001-01-01T00:00:00&end=2001-02-01T00:00:00"
    assert s.call("GET", f"/os-simple-tenant-usage/{project}?{early}").json() == {"tenant_usage": {}}
    page = s.call("GET", f"/os-simple-tenant-usage/{project}?limit=1").json()
    assert len(page["tenant_usage"]["server_usages"]) == 1 and "marker=" in page["tenant_usage_links"][0]["href"]
    for bad in ("start=x", "start=2002-01-01T00:00:00&end=2001-01-01T00:00:00", "marker=x"):
        assert s.call("GET", f"/os-simple-tenant-usage/{project}?{bad}").status_code == 400


def test_lock(s: Shop, server: str) -> None:
    assert s.act(server, lock={"locked_reason": "careful"}).status_code == 202
    shown = s.show(server)
    assert (shown["locked"], shown["locked_reason"]) == (True, "careful")
    answer = s.act(server, **{"os-stop": None})
    assert (answer.status_code, message(answer)) == (409, f"Instance {server} is locked")
    assert s.call("DELETE", f"/servers/{server}").status_code == 409
    assert s.act(server, unlock=None).status_code == 202
    assert s.show(server)["locked"] is False


def test_what_is_not_offered(s: Shop, server: str) -> None:
    """Unknown actions are refused, not forgotten."""
    for name in ("resetNetwork", "nonsense"):
        answer = s.act(server, **{name: None})
        assert answer.status_code == 400
        assert message(answer).startswith(f"There is no such action: {name}")
    assert s.act(server, changePassword={"adminPass": "x"}).status_code == 409
    for path in ("/os-volumes", "/os-snapshots", "/os-networks"):
        assert s.call("GET", path).status_code == 404


def test_snapshot(s: Shop, server: str) -> None:
    answer = s.act(server, createImage={"name": "copy é", "metadata": {"why": "test"}})
    assert answer.status_code == 202
    image_id = answer.json()["image_id"]
    s.wait(server)
    image = s.alice.http.get(f"/image/v2/images/{image_id}").json()
    assert (image["status"], image["name"], image["why"], image["image_type"]) == (
        "active",
        "copy é",
        "test",
        "snapshot",
    )
    assert (image["instance_uuid"], image["min_disk"], image["disk_format"]) == (server, 1, "qcow2")
    older = s.call("POST", f"/servers/{server}/action", "2.1", json={"createImage": {"name": "old"}})
    assert older.content == b""
    old_id = older.headers["location"].rpartition("/")[2]
    s.wait(server)
    view = s.call("GET", f"/images/{old_id}", "2.1").json()["image"]
    assert (view["status"], view["metadata"]["image_type"], view["server"]["id"]) == ("ACTIVE", "snapshot", server)
    assert s.call("DELETE", f"/images/{old_id}", "2.1").status_code == 204
    assert s.call("GET", f"/images/{old_id}", "2.1").status_code == 404
    assert s.call("GET", f"/images/{image_id}", "2.36").status_code == 404


def test_interfaces(s: Shop, server: str) -> None:
    path = f"/servers/{server}/os-interface"
    made = s.call("POST", path, json={"interfaceAttachment": {"net_id": s.network, "tag": "extra"}})
    assert made.status_code == 200
    one = made.json()["interfaceAttachment"]
    assert set(one) == {"net_id", "port_id", "mac_addr", "port_state", "fixed_ips", "tag"}
    _settle(s, server)
    assert len(s.show(server)["addresses"]["net"]) == 2
    assert s.call("GET", f"{path}/{one['port_id']}").json()["interfaceAttachment"]["port_state"] == "ACTIVE"
    gone = s.call("DELETE", f"{path}/{one['port_id']}")
    assert gone.status_code == 202
    _settle(s, server)
    action = f"/servers/{server}/os-instance-actions/{gone.headers['x-compute-request-id']}"
    [event] = s.call("GET", action).json()["instanceAction"]["events"]
    assert (event["event"], event["result"]) == ("compute_detach_interface", "Success")  # clients wait for it
    assert s.alice.http.get(f"/network/v2.0/ports/{one['port_id']}").status_code == 404
    assert s.call("GET", f"{path}/{one['port_id']}").status_code == 404
    missing = "5f0b2c9e-0000-4000-8000-000000000000"
    answer = s.call("POST", path, json={"interfaceAttachment": {"net_id": missing}})
    assert (answer.status_code, message(answer)) == (404, f"Network {missing} could not be found.")


def _settle(s: Shop, server: str) -> None:
    """Until every action on the Server has ended."""
    until = time.monotonic() + 10
    while True:
        latest = s.call("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"][0]
        request = {"r": latest["request_id"]}
        sql = "SELECT finished_at FROM event WHERE request_id = :r AND step = ''"
        if s.cloud.run(partial(s.cloud.hagane.cloud.db.fetch, sql, request))[0]["finished_at"]:
            return
        assert time.monotonic() < until
        time.sleep(0.01)


def test_security_groups(s: Shop, server: str) -> None:
    group = s.alice.http.post("/network/v2.0/security-groups", json={"security_group": {"name": "web"}})
    assert group.status_code == 201
    assert s.act(server, addSecurityGroup={"name": "web"}).status_code == 202
    assert {one["name"] for one in s.show(server)["security_groups"]} == {"default", "web"}
    assert s.act(server, removeSecurityGroup={"name": "web"}).status_code == 202
    assert [one["name"] for one in s.show(server)["security_groups"]] == ["default"]
    assert s.act(server, removeSecurityGroup={"name": "web"}).status_code == 404
    assert s.act(server, addSecurityGroup={"name": "nothing"}).status_code == 404


def test_metadata(s: Shop, server: str) -> None:
    path = f"/servers/{server}/metadata"
    assert s.call("PUT", path, json={"metadata": {"a": "1", "b": "2"}}).json() == {"metadata": {"a": "1", "b": "2"}}
    assert s.call("POST", path, json={"metadata": {"b": "3"}}).json() == {"metadata": {"a": "1", "b": "3"}}
    assert s.call("PUT", f"{path}/c", json={"meta": {"c": "4"}}).json() == {"meta": {"c": "4"}}
    answer = s.call("PUT", f"{path}/c", json={"meta": {"d": "4"}})
    assert (answer.status_code, message(answer)) == (400, "Request body and URI mismatch")
    assert s.call("GET", f"{path}/c").json() == {"meta": {"c": "4"}}
    assert s.call("DELETE", f"{path}/c").status_code == 204
    assert s.call("DELETE", f"{path}/c").status_code == 404
    assert s.call("PUT", path, json={"metadata": {f"k{n}": "v" for n in range(129)}}).status_code == 403


def test_tags(s: Shop, server: str) -> None:
    path = f"/servers/{server}/tags"
    assert s.call("GET", path, "2.25").status_code == 404
    assert s.call("PUT", path, json={"tags": ["a", "b"]}).json() == {"tags": ["a", "b"]}
    assert s.call("PUT", f"{path}/c").status_code == 201
    assert s.call("PUT", f"{path}/c").status_code == 204
    assert s.call("GET", f"{path}/c").status_code == 204
    assert s.call("DELETE", f"{path}/c").status_code == 204
    assert s.call("DELETE", f"{path}/c").status_code == 404
    assert s.call("PUT", path, json={"tags": ["a,b"]}).status_code == 400
    for query, found in (
        ("tags=a,b", 1),
        ("tags=a,x", 0),
        ("tags-any=a,x", 1),
        ("not-tags=a,b", 0),
        ("not-tags-any=x", 1),
    ):
        assert len(s.call("GET", f"/servers?{query}").json()["servers"]) == found, query
    assert s.call("DELETE", path).status_code == 204


def test_instance_actions(s: Shop, server: str) -> None:
    """Every action, and for its owner each step of it with its duration."""
    answer = s.act(server, reboot={"type": "HARD"})
    request_id = answer.headers["x-compute-request-id"]
    s.wait(server)
    actions = s.call("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"]
    assert (actions[0]["action"], actions[0]["request_id"], actions[0]["message"]) == ("reboot", request_id, None)
    assert actions[-1]["action"] == "create"
    shown = s.call("GET", f"/servers/{server}/os-instance-actions/{request_id}").json()["instanceAction"]
    steps = {event["event"]: event for event in shown["events"]}
    assert set(steps) == {"stop", "start"}
    assert all(event["result"] == "Success" and event["finish_time"] >= event["start_time"] for event in steps.values())
    assert "host" not in steps["start"]
    assert (
        "events"
        not in s.call("GET", f"/servers/{server}/os-instance-actions/{request_id}", "2.1").json()["instanceAction"]
    )
    assert s.call("GET", f"/servers/{server}/os-instance-actions/req-x").status_code == 404


def test_console(s: Shop, server: str) -> None:
    output = s.act(server, **{"os-getConsoleOutput": {}}).json()["output"]
    assert output
    last = s.act(server, **{"os-getConsoleOutput": {"length": 1}}).json()["output"]
    assert output.endswith(last) and "\n" not in last
    made = s.call(
        "POST", f"/servers/{server}/remote-consoles", json={"remote_console": {"protocol": "serial", "type": "serial"}}
    )
    assert made.json()["remote_console"]["url"].startswith("ws://")
    vnc = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    answer = s.call("POST", f"/servers/{server}/remote-consoles", json=vnc)
    assert (answer.status_code, message(answer)) == (400, "Unavailable console type novnc.")


def test_serial_console_socket(s: Shop, server: str) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    asked = {"remote_console": {"protocol": "serial", "type": "serial"}}
    url = s.call("POST", f"/servers/{server}/remote-consoles", json=asked).json()["remote_console"]["url"]
    with connect(url, subprotocols=["binary"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "binary"
        first = socket.recv(timeout=5)
        assert isinstance(first, bytes)
        socket.send(b"echo hello\r")
        seen = first
        while b"hello" not in seen:
            more = socket.recv(timeout=5)
            seen += more if isinstance(more, bytes) else more.encode()
    with pytest.raises(InvalidStatus), connect(url.partition("token=")[0] + "token=wrong"):
        pass


def test_update(s: Shop, server: str) -> None:
    answer = s.call("PUT", f"/servers/{server}", json={"server": {"name": "naïve", "accessIPv6": "2001:db8::0:1"}})
    shown = answer.json()["server"]
    assert (shown["name"], shown["accessIPv6"]) == ("naïve", "2001:db8::1")
    older = s.call("PUT", f"/servers/{server}", "2.1", json={"server": {"name": "x"}}).json()["server"]
    assert not [key for key in older if key.startswith("OS-EXT")]
    assert s.call("PUT", f"/servers/{server}", json={"server": {"flavorRef": "1"}}).status_code == 400
    assert s.call("PUT", f"/servers/{server}", json={"server": {"name": ""}}).status_code == 400


def test_lists(s: Shop, server: str) -> None:
    other = s.make(name="other.example", metadata={"n": "1"})

    def names(query: str, version: str = "2.96") -> list[str]:
        answer = s.call("GET", f"/servers/detail?{query}", version)
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()["servers"]]

    assert set(names("")) == {"x", "other.example"}
    assert names("name=other") == ["other.example"]
    assert names("name=%5Eo.*e$") == ["other.example"]
    assert names("name=nothing") == []
    assert set(names("status=active")) == {"x", "other.example"}
    assert names("status=SHUTOFF") == []
    assert names("status=nonsense", "2.1") == []
    assert s.call("GET", "/servers?status=nonsense").status_code == 400
    assert set(names(f"image={s.image}")) == {"x", "other.example"}
    assert names("flavor=none") == []
    assert names("ip=10.7.0") == ["x"]
    assert names("ip6=fe80") == []
    assert names("changes-since=2200-01-01T00:00:00Z") == []
    assert len(names("changes-since=2000-01-01T00:00:00%2B02:00")) == 2
    assert s.call("GET", "/servers?changes-since=yesterday").status_code == 400
    assert names("sort_key=display_name&sort_dir=asc") == ["other.example", "x"]
    page = s.call("GET", "/servers?limit=1&sort_key=display_name&sort_dir=asc").json()
    assert [one["name"] for one in page["servers"]] == ["other.example"]
    following = s.alice.http.get(
        page["servers_links"][0]["href"], headers={"OpenStack-API-Version": "compute 2.96"}
    ).json()
    assert [one["name"] for one in following["servers"]] == ["x"]
    for bad in ("limit=-1", "limit=x", "marker=unknown", "sort_key=nothing", "name=(a%2B)%2B", "name=("):
        assert s.call("GET", f"/servers?{bad}").status_code == 400, bad
    assert s.call("GET", "/servers?nonsense=1").status_code == 400
    assert set(names("nonsense=1", "2.74")) == {"x", "other.example"}
    assert s.call("GET", "/servers?all_tenants=1").status_code == 403
    everybody = s.call("GET", "/servers?all_tenants=1", who=s.admin).json()["servers"]
    assert {one["id"] for one in everybody} >= {server, other}
    assert s.call("GET", "/servers", who=s.admin).json()["servers"] == []
    s.delete(other)


def test_unknown_ids(s: Shop) -> None:
    for key in ("-1", "9223372036854775808", "5f0b2c9e-0000-4000-8000-000000000000", "%00", "é"):
        for method, path in (("GET", ""), ("DELETE", ""), ("PUT", ""), ("POST", "/action")):
            body = {"server": {"name": "x"}} if method == "PUT" else {"os-start": None} if method == "POST" else None
            answer = s.call(method, f"/servers/{key}{path}", json=body)
            assert answer.status_code in (400, 404), (method, key)


def test_keypairs(s: Shop) -> None:
    made = s.call("POST", "/os-keypairs", "2.1", json={"keypair": {"name": "mine"}})
    assert made.status_code == 200
    assert set(made.json()["keypair"]) == {"name", "public_key", "fingerprint", "user_id", "private_key"}
    assert made.json()["keypair"]["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    windows = s.call("POST", "/os-keypairs", "2.2", json={"keypair": {"name": "win", "type": "x509"}})
    assert windows.status_code == 201
    assert windows.json()["keypair"]["public_key"].startswith("-----BEGIN CERTIFICATE-----")
    imported = s.call("POST", "/os-keypairs", json={"keypair": {"name": "a.b@c", "public_key": KEY}})
    assert imported.json()["keypair"]["fingerprint"] == "99:6d:4c:10:68:13:dd:28:a2:15:d9:af:fe:7b:0b:d3"
    assert s.call("POST", "/os-keypairs", json={"keypair": {"name": "a.b@c", "public_key": KEY}}).status_code == 409
    assert s.call("POST", "/os-keypairs", json={"keypair": {"name": "gen"}}).status_code == 400
    bad = s.call("POST", "/os-keypairs", json={"keypair": {"name": "bad", "public_key": "ssh-rsa AAAA"}})
    assert (bad.status_code, message(bad)) == (400, "Keypair data is invalid: failed to generate fingerprint")
    assert s.call("POST", "/os-keypairs", "2.1", json={"keypair": {"name": "a.b"}}).status_code == 400
    listed = s.call("GET", "/os-keypairs").json()["keypairs"]
    assert [one["keypair"]["name"] for one in listed] == ["a.b@c", "mine", "win"]
    page = s.call("GET", "/os-keypairs?limit=2").json()
    assert "marker=mine" in page["keypairs_links"][0]["href"]
    assert s.call("GET", f"/os-keypairs?user_id={'0' * 32}").status_code == 403
    assert s.call("DELETE", "/os-keypairs/mine", "2.1").status_code == 202
    assert s.call("DELETE", "/os-keypairs/win").status_code == 204
    assert s.call("GET", "/os-keypairs/win").status_code == 404


def test_what_its_image_and_its_hints_were(s: Shop, server: str) -> None:
    """From 2.98 and 2.100 on; what means nothing to a Server is not shown, and a rebuild takes that of its image."""
    assert "properties" not in s.call("GET", f"/servers/{server}", "2.97").json()["server"]["image"]
    assert "scheduler_hints" not in s.call("GET", f"/servers/{server}", "2.99").json()["server"]
    properties = [{"op": "add", "path": f"/{name}", "value": "virtio"} for name in ("hw_disk_bus", "colour")]
    kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    assert s.admin.patch(f"/image/v2/images/{s.image}", json=properties, headers=kind).status_code == 200
    order = {"name": "hinted", "imageRef": s.image, "flavorRef": s.flavor, "networks": "none"}
    hints = {"different_host": server, "same_host": []}
    answer = s.call("POST", "/servers", "2.100", json={"server": order, "os:scheduler_hints": hints})
    hinted = answer.json()["server"]["id"]
    s.wait(hinted)
    shown = s.call("GET", f"/servers/{hinted}", "2.100").json()["server"]
    assert shown["image"]["properties"] == {"hw_disk_bus": "virtio"}
    assert shown["scheduler_hints"] == {"different_host": [server], "same_host": []}
    listed = s.call("GET", "/servers/detail?name=hinted", "2.100").json()["servers"][0]
    assert (listed["image"], listed["scheduler_hints"]) == (shown["image"], shown["scheduler_hints"])
    body = {"rebuild": {"imageRef": s.image}}
    rebuilt = s.call("POST", f"/servers/{server}/action", "2.98", json=body).json()["server"]
    assert rebuilt["image"]["properties"] == {"hw_disk_bus": "virtio"}
    s.wait(server)
    s.delete(hinted)


def test_no_server_has_a_share(s: Shop, server: str) -> None:
    one = f"/servers/{server}/shares/{server}"
    assert s.call("GET", f"/servers/{server}/shares", "2.96").status_code == 404
    assert s.call("GET", f"/servers/{server}/shares", "2.97").json() == {"shares": []}
    body = {"share": {"share_id": server}}
    assert s.call("POST", f"/servers/{server}/shares", "2.97", json=body).status_code == 409  # it runs
    assert s.call("GET", one, "2.97").status_code == 404
    assert s.call("DELETE", one, "2.97").status_code == 409
    assert s.call("POST", f"/servers/{server}/shares", "2.97", json={"share": {"share_id": "x"}}).status_code == 400
    console = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
    told = [s.call("POST", f"/servers/{server}/remote-consoles", v, json=console) for v in ("2.98", "2.99")]
    assert [message(one).startswith("Unavailable console type") for one in told] == [False, True]


def test_pinned_to_its_zone(s: Shop, server: str) -> None:
    """From 2.104 on a Server is let go of its zone, and pinned to the one where it is."""

    def pin(zone: str | None, minor: int = 104) -> tuple[int, str | None]:
        body = {"server": {"pinned_availability_zone": zone}}
        answer = s.call("PUT", f"/servers/{server}", f"2.{minor}", json=body)
        told = answer.json().get("server")
        return answer.status_code, told["pinned_availability_zone"] if told else None

    assert pin(None, 103)[0] == 400
    assert [pin(zone) for zone in (None, "moon", "nova", "nova")] == [
        (200, None), (409, None), (200, "nova"), (200, "nova"),
    ]  # fmt: skip
    assert pin("moon") == (409, None)
    assert pin(None) == (200, None)
