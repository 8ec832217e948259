"""What must stay secret in a Node's life shows nowhere: in no answer, no row, no line of the log, no explanation."""

import logging
from pathlib import Path
from typing import Any

import pytest

from hagane.operate.explain import explain, find
from hagane.state.database import Row
from tests.scenarios.node_world import World, world

BMC, USER_DATA, RESCUE = "the-BMC's-pass-phrase", "user-data-of-the-tenant", "rescue-me-4711"
DRIVE = {"meta_data": {"hostname": "anvil"}, "user_data": USER_DATA}


async def _told(w: World, node: str) -> str:
    """All that the APIs and `hagane explain` say of the Node."""
    paths = ("/nodes/detail", f"/nodes/{node}", f"/nodes/{node}/states", f"/nodes/{node}/history?detail=true",
             f"/nodes/{node}/inventory", f"/nodes/{node}/validate", f"/lookup?node_uuid={node}")  # fmt: skip
    answers = [(await w.http.get(path)).text for path in paths]
    return "\n".join([*answers, repr(await explain(w.db, *await find(w.db, "node", node)))])


async def _stored(w: World) -> str:
    """The whole store, as text."""
    tables = await w.db.fetch_tuples("SELECT name FROM sqlite_master WHERE type = 'table'")
    return "\n".join([repr(await w.db.fetch_tuples(f"SELECT * FROM {name}")) for (name,) in tables])


async def test_secrets_show_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets, told = {BMC, USER_DATA, RESCUE}, list[str]()
    async with world(tmp_path) as w:

        async def look() -> None:
            row = await w.row(node)
            secrets.update(filter(None, [_token(w, row)]))
            told.extend([await _told(w, node), await _stored(w)])

        node = await w.enrol(driver_info={"ipmi_password": BMC, "redfish_password": BMC, "ipmi_address": "192.0.2.1"})
        await w.reach(node, "manage", "manageable")
        await w.reach(node, "provide", "available")
        await w.instance(node)
        await look()
        w.machine(node).wrong.hang.add("standby.prepare_image")
        assert (await w.ask(node, "active", configdrive=DRIVE)).status_code == 202

        async def writing() -> bool:
            steps = (await w.row(node))["seen"].get("steps") or []
            return any(step["step"] == "write-image" for step in steps)

        await w.until(writing)
        await look()
        assert len(secrets) == 4  # the ramdisk's token, too
        w.machine(node).wrong.hang.clear()
        w.machine(node).wrong.dead = True
        w.times.heartbeat = 0.1
        await w.at(node, "deploy failed")
        w.machine(node).wrong.dead, w.times.heartbeat = False, 20.0
        await w.reach(node, "active", "active", configdrive=DRIVE)
        await look()
        await w.reach(node, "rescue", "rescue", rescue_password=RESCUE)
        await look()
        await w.reach(node, "unrescue", "active")
        await w.reach(node, "deleted", "available")
        await look()
        refused = []
        for path in ("/driver_info/ipmi_password/x", "/driver_info/none/ipmi_password"):
            body = [{"op": "add", "path": path, "value": BMC}]
            refused.append((await w.http.patch(f"/nodes/{node}", json=body)).text)
        refused.append((await w.ask(node, "rescue", rescue_password=RESCUE)).text)
    told += [*refused, *(record.getMessage() + str(record.exc_info) for record in caplog.records)]
    for secret in secrets:
        for text in told:
            at = text.find(secret)
            assert at < 0, f"{secret!r} in {text[max(0, at - 200) : at + 100]}"


def _token(w: World, row: Row) -> Any:
    return w.part.tools.secrets.decrypt(row["secrets"]).partition('"agent_token":"')[2].partition('"')[0]
