"""The replica against real ovsdb-servers: complete, in order, back after kill -9, led by the leader, over TLS."""

import asyncio
import datetime
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hagane.errors import Conflict, DeviceFailed, Unavailable
from hagane.ovn.connection import Tls
from hagane.ovn.replica import Replica
from hagane.ovn.transaction import Txn
from hagane.ovn.wire import BIG
from tests.dataplane.ovsdb_server import Cluster, OvsdbServer, eventually

pytestmark = pytest.mark.real

TABLES = {
    "Logical_Switch": ("name", "ports", "other_config", "external_ids"),
    "Logical_Switch_Port": None,
    "Port_Group": ("name", "ports"),
    "Address_Set": ("name", "addresses"),
}


def new_replica(remotes: str, **options: Any) -> Replica:
    return Replica(remotes, "OVN_Northbound", TABLES, **options)


async def up(replica: Replica) -> Replica:
    await replica.start()
    await asyncio.wait_for(replica.ready.wait(), 20)
    return replica


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OvsdbServer]:
    server = OvsdbServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
async def replica(server: OvsdbServer) -> AsyncIterator[Replica]:
    replica = await up(new_replica(server.remote))
    yield replica
    await replica.stop()


def ports(switch: str, *names: str) -> Txn:
    """Adds ports to a new switch."""
    txn = Txn()
    rows = [txn.insert("Logical_Switch_Port", {"name": name}) for name in names]
    txn.insert("Logical_Switch", {"name": switch, "ports": rows})
    return txn


def state(replica: Replica) -> dict[str, Any]:
    return {table: {key: dict(row) for key, row in replica.table(table).items()} for table in TABLES}


async def test_a_transaction_is_in_the_replica_when_it_returns(replica: Replica, server: OvsdbServer) -> None:
    for number in range(50):
        port, switch = await replica.transact(ports(f"s{number}", f"p{number}"))
        assert replica.table("Logical_Switch")[switch]["ports"] == {port}
        assert replica.table("Logical_Switch_Port")[port]["name"] == f"p{number}"
    assert server.nbctl("get", "Logical_Switch", "s7", "name") == "s7"


async def test_a_big_change_is_applied_in_slices_and_told_as_a_whole(replica: Replica, server: OvsdbServer) -> None:
    told: list[int] = []
    replica.on_change("Logical_Switch_Port", lambda *_: told.append(len(replica.table("Logical_Switch_Port"))))
    other = await up(new_replica(server.remote))
    rows = await other.transact(ports("big", *(f"p{number}" for number in range(2000))))
    assert len(other.table("Logical_Switch_Port")) == 2000  # the writer waited for all slices
    after = await other.transact(ports("small", "last"))
    await eventually(lambda: after[-1] in replica.table("Logical_Switch"))
    await replica.whole()
    assert replica.table("Logical_Switch")[rows[-1]]["ports"] == set(rows[:-1])
    assert told == [2000] * 2000 + [2001]
    await other.stop()


async def test_a_connection_lost_between_slices_reads_all_anew(replica: Replica, server: OvsdbServer) -> None:
    other = await up(new_replica(server.remote))
    await other.transact(ports("big", *(f"p{number}" for number in range(2000))))
    await eventually(lambda: replica.table("Logical_Switch_Port"))
    replica.connection.peer.close("a test")  # type: ignore[union-attr]
    await eventually(lambda: replica.ready.is_set() and len(replica.table("Logical_Switch_Port")) == 2000)
    assert state(replica) == state(other)
    await other.stop()


async def test_every_kind_of_operation(replica: Replica) -> None:
    port, switch = await replica.transact(ports("s", "p"))
    txn = Txn()
    txn.comment("a change of everything")
    txn.wait("Logical_Switch", switch, {"name": "s"})
    txn.update("Logical_Switch", switch, {"name": "t", "other_config": {"a": "1", "b": "2"}})
    txn.mutate("Logical_Switch", switch, "other_config", "delete", {"a"})
    txn.mutate("Logical_Switch", switch, "other_config", "insert", {"c": "ü\n\"'{}"})
    txn.mutate("Logical_Switch_Port", port, "addresses", "insert", {"dynamic", "unknown"})
    txn.select("Logical_Switch", {"name": "t"}, ["other_config"])
    results = await replica.transact(txn)
    assert results == [None, None, 1, 1, 1, 1, [{"other_config": {"b": "2", "c": "ü\n\"'{}"}}]]
    assert dict(replica.table("Logical_Switch")[switch])["other_config"] == {"b": "2", "c": "ü\n\"'{}"}
    assert replica.table("Logical_Switch_Port")[port]["addresses"] == {"dynamic", "unknown"}
    txn = Txn()
    txn.delete("Logical_Switch", switch)
    assert await replica.transact(txn) == [1]
    assert not replica.table("Logical_Switch")
    assert not replica.table("Logical_Switch_Port"), "what nobody holds is gone"


async def test_refusals_name_their_cause(replica: Replica) -> None:
    port, switch = await replica.transact(ports("s", "p"))
    with pytest.raises(DeviceFailed) as raised:
        await replica.transact(ports("t", "p"))
    assert "constraint violation" in raised.value.message
    assert "Logical_Switch_Port" in raised.value.detail
    txn = Txn()
    txn.delete("Logical_Switch_Port", port)
    with pytest.raises(DeviceFailed) as raised:
        await replica.transact(txn)
    assert "referential integrity" in raised.value.message
    txn = Txn()
    txn.wait("Logical_Switch", switch, {"name": "other"})
    txn.update("Logical_Switch", switch, {"name": "u"})
    with pytest.raises(Conflict):
        await replica.transact(txn)
    assert replica.table("Logical_Switch")[switch]["name"] == "s"


async def test_a_bad_submission_hurts_nobody_else(replica: Replica) -> None:
    await replica.transact(ports("s", "taken"))
    submissions = [replica.submit(ports(f"s{n}", "taken" if n == 5 else f"p{n}")) for n in range(20)]
    outcomes = await asyncio.gather(*submissions, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(DeviceFailed) == 1
    assert isinstance(outcomes[5], DeviceFailed)
    assert {row["name"] for row in replica.table("Logical_Switch_Port").values()} == {
        "taken",
        *(f"p{n}" for n in range(20) if n != 5),
    }


async def test_listeners_hear_of_others_changes_with_old_and_new(replica: Replica, server: OvsdbServer) -> None:
    heard: list[tuple[str, Any, Any]] = []
    replica.on_change(
        "Logical_Switch",
        lambda kind, old, new: heard.append((kind, old and set(old["ports"]), new and set(new["ports"]))),
    )
    names = [f"p{n}" for n in range(BIG + 3)]
    results = await replica.transact(ports("s", *names))
    before = set(results[:-1])
    heard.clear()
    server.nbctl("lsp-add", "s", "theirs")
    await eventually(lambda: len(heard) == 1)
    server.nbctl("lsp-del", "p0")
    await eventually(lambda: len(heard) == 2)
    server.nbctl("ls-del", "s")
    await eventually(lambda: len(heard) == 3)
    (theirs,) = heard[0][2] - before
    after = before | {theirs}
    assert heard == [
        ("update", before, after),
        ("update", after, after - {results[0]}),
        ("delete", after - {results[0]}, None),
    ]


async def test_lookups_follow_every_change(replica: Replica) -> None:
    by_name = replica.index("Logical_Switch_Port", lambda row: row["name"] or None)
    by_tag = replica.index("Logical_Switch_Port", lambda row: row["external_ids"].get("tag"))
    holders = replica.holders("Logical_Switch", "ports")
    first, second, switch = await replica.transact(ports("s", "p1", "p2"))
    assert [row["_uuid"] for row in by_name.get("p1")] == [first]
    assert holders.of(first) == (switch,)
    txn = Txn()
    for port in (first, second):
        txn.update("Logical_Switch_Port", port, {"external_ids": {"tag": "x"}})
    other = txn.insert("Logical_Switch", {"name": "other", "ports": {first}})
    txn.mutate("Logical_Switch", switch, "ports", "delete", {second})
    txn.mutate("Logical_Switch", other, "ports", "insert", {second})
    other_id = (await replica.transact(txn))[2]
    assert sorted(row["_uuid"] for row in by_tag.get("x")) == sorted([first, second])
    assert set(holders.of(first)) == {switch, other_id}
    assert holders.of(second) == (other_id,)
    late = replica.index("Logical_Switch_Port", lambda row: row["external_ids"].get("tag"))
    txn = Txn()
    txn.update("Logical_Switch_Port", first, {"external_ids": {}})
    txn.delete("Logical_Switch", other_id)
    await replica.transact(txn)
    assert by_tag.get("x") == late.get("x") == []
    assert by_name.get("p2") == []
    assert holders.of(first) == (switch,)
    assert holders.of(second) == ()


async def test_killed_server_comes_back(replica: Replica, server: OvsdbServer) -> None:
    await replica.transact(ports("s", "p1", "p2"))
    before = state(replica)
    heard: list[Any] = []
    for table in TABLES:
        replica.on_change(table, lambda kind, old, new: heard.append((kind, (new or old)["name"])))
    server.kill()
    await eventually(lambda: not replica.ready.is_set())
    with pytest.raises(Unavailable):
        await replica.transact(ports("t", "p3"))
    server.start()
    await asyncio.wait_for(replica.ready.wait(), 20)
    assert state(replica) == before
    assert heard == [], "nothing has changed"
    server.kill()
    (gone,) = (row_id for row_id, row in replica.table("Logical_Switch_Port").items() if row["name"] == "p2")
    server.transact_offline(
        {"op": "insert", "table": "Logical_Switch", "row": {"name": "new"}},
        {"op": "update", "table": "Logical_Switch_Port", "where": [["name", "==", "p1"]], "row": {"name": "p9"}},
        {"op": "mutate", "table": "Logical_Switch", "where": [], "mutations": [["ports", "delete", ["uuid", gone]]]},
    )
    server.start()
    await eventually(lambda: ("insert", "new") in heard)
    assert sorted(heard) == [("delete", "p2"), ("insert", "new"), ("update", "p9"), ("update", "s")]


async def test_a_transaction_under_way_at_the_kill_is_unavailable(replica: Replica, server: OvsdbServer) -> None:
    tasks = [asyncio.create_task(replica.submit(ports(f"s{n}", f"p{n}"))) for n in range(3000)]
    await asyncio.sleep(0.02)
    server.kill()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {list, Unavailable}
    assert Unavailable in {type(outcome) for outcome in outcomes}
    done = {f"p{n}" for n, outcome in enumerate(outcomes) if isinstance(outcome, list)}
    server.start()
    await asyncio.wait_for(replica.ready.wait(), 20)
    assert done <= {row["name"] for row in replica.table("Logical_Switch_Port").values()}


async def test_a_big_database_arrives_complete_and_the_loop_stays_awake(replica: Replica, server: OvsdbServer) -> None:
    for batch in range(20):
        await replica.transact(ports(f"s{batch}", *(f"p{batch}.{n}" for n in range(1000))))
    longest = 0.0
    second = new_replica(server.remote)

    async def pulse() -> None:
        nonlocal longest
        while not second.ready.is_set():
            began = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - began)

    await second.start()
    await asyncio.wait_for(pulse(), 20)
    assert len(second.table("Logical_Switch_Port")) == 20_000
    assert state(second) == state(replica)
    assert longest < 0.5, "the content is applied in slices"
    await second.stop()


async def test_a_large_value_passes_both_ways(replica: Replica, server: OvsdbServer) -> None:
    addresses = {f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(100_000)}
    txn = Txn()
    txn.insert("Address_Set", {"name": "big", "addresses": addresses})
    (row_id,) = await replica.transact(txn)
    assert replica.table("Address_Set")[row_id]["addresses"] == addresses
    server.nbctl("remove", "Address_Set", "big", "addresses", "10.0.0.7")
    addresses.discard("10.0.0.7")
    await replica.until(lambda: replica.table("Address_Set")[row_id]["addresses"] == addresses, 10)


async def test_a_cluster_is_led_and_resumed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    replica = new_replica(cluster.remotes)
    try:
        await up(replica)
        leader = await eventually(cluster.leader)
        assert str(replica.connection.remote) == leader.remote
        await replica.transact(ports("s", "p1"))
        heard: list[Any] = []
        replica.on_change("Logical_Switch_Port", lambda kind, old, new: heard.append((kind, (new or old)["name"])))
        leader.kill()
        await eventually(lambda: not replica.ready.is_set())
        await asyncio.wait_for(replica.ready.wait(), 30)
        assert replica.resumed, "the new leader remembers our last transaction"
        assert str(replica.connection.remote) != leader.remote
        assert heard == []
        await replica.transact(ports("t", "p2"))
        assert heard == [("insert", "p2")]
    finally:
        await replica.stop()
        cluster.kill()


async def test_a_leader_that_steps_down_is_left(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    replica = new_replica(cluster.remotes)
    try:
        await up(replica)
        old = await eventually(cluster.leader)
        old.appctl("cluster/leave", "OVN_Northbound")
        await eventually(lambda: str(replica.connection.remote) != old.remote and replica.ready.is_set(), 30)
        assert old.running, "it still answers, and was left because it leads no more"
        await replica.transact(ports("s", "p"))
        others = [server for server in cluster.servers if server is not old]
        follower = next(server for server in others if server.remote != str(replica.connection.remote))
        any_server = await up(new_replica(follower.remote, leader_only=False))
        await any_server.until(lambda: any_server.table("Logical_Switch_Port"), 10)
        await any_server.stop()
    finally:
        await replica.stop()
        cluster.kill()


def make_tls(folder: Path) -> dict[str, Tls]:
    """A CA, and certificates for a server, a client, and a client of another CA."""
    made = {}
    for name, issuer in (("ca", "ca"), ("server", "ca"), ("client", "ca"), ("rogue", "rogue")):
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        )
        signer = key if name == issuer else made["ca"][0]
        made[name] = (key, builder.sign(signer, hashes.SHA256()))
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        (folder / f"{name}.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        (folder / f"{name}.crt").write_bytes(made[name][1].public_bytes(pem))
    return {
        name: Tls(str(folder / f"{name}.key"), str(folder / f"{name}.crt"), str(folder / "ca.crt"))
        for name in ("server", "client", "rogue")
    }


async def test_tls_with_the_right_certificates_only(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = [
        f"--private-key={tls['server'].key}",
        f"--certificate={tls['server'].cert}",
        f"--ca-cert={tls['server'].ca}",
    ]
    server = OvsdbServer(tmp_path, None, "db", f"--remote=pssl:{port}:127.0.0.1", *files).start()
    remote = f"ssl:127.0.0.1:{port}"
    good = new_replica(remote, tls=tls["client"])
    rogue = new_replica(remote, tls=tls["rogue"])
    mistrusting = new_replica(remote, tls=Tls(tls["client"].key, tls["client"].cert, str(tmp_path / "rogue.crt")))
    try:
        await up(good)
        await good.transact(ports("s", *(f"p{n}" for n in range(2000))))
        assert server.nbctl("--bare", "--columns=name", "list", "Logical_Switch") == "s"
        await rogue.start()
        await mistrusting.start()
        await eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in mistrusting.connection.reason)
        await eventually(lambda: rogue.connection.reason not in ("", "not started"))
        assert not rogue.ready.is_set()
        assert not mistrusting.ready.is_set()
    finally:
        for replica in (good, rogue, mistrusting):
            await replica.stop()
        server.kill()
