"""The first things of a new cloud are there in the end, wherever an earlier start was killed."""

from pathlib import Path
from typing import Any

import pytest

from hagane.app import Hagane
from hagane.config import Config
from hagane.drivers.hypervisor.sim import SimHypervisor
from hagane.identity.token import authenticate
from hagane.operate.seed import FLAVORS, Local, seed
from hagane.reconcile.devices import Devices
from hagane.reconcile.ovn.engine import ChassisSeen, SimOvn
from hagane.serve import bootstrap


class Killed(BaseException):
    pass


async def test_a_start_that_was_killed_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(state=tmp_path, sim=True, bcrypt_cost=4)
    network = SimOvn([ChassisSeen("sim1", "sim1", frozenset({"ext"}))])
    hagane = Hagane(config, Devices(hosts={"sim1": SimHypervisor("sim1")}, network=network), authenticate)
    await hagane.start()
    await bootstrap(hagane.cloud, "correct-horse", "http://localhost")
    call = Local.call
    for path in ("/compute/v2.1/flavors", "/network/v2.0/networks", "/network/v2.0/subnets", ""):
        for calls in (0, 1) if path else (None,):
            left = calls

            async def killed(local: Local, method: str, to: str, body: Any = None, path: str = path) -> Any:
                nonlocal left
                if method == "POST" and to == path and left is not None:
                    if left == 0:
                        raise Killed
                    left -= 1
                    await call(local, method, to, body)
                    raise Killed
                return await call(local, method, to, body)

            with monkeypatch.context() as patch:
                patch.setattr(Local, "call", killed)
                try:
                    await seed(hagane.app, hagane.cloud.db, config, "correct-horse")
                except Killed:
                    assert path
    local = Local(hagane.app)
    await local.login("correct-horse")
    flavors = (await local.call("GET", "/compute/v2.1/flavors"))["flavors"]
    assert sorted(flavor["name"] for flavor in flavors) == sorted(name for name, *_ in FLAVORS)
    networks = (await local.call("GET", "/network/v2.0/networks"))["networks"]
    assert [(one["name"], len(one["subnets"])) for one in networks] == [("public", 1)]
    await local.call("DELETE", f"/network/v2.0/networks/{networks[0]['id']}")
    await seed(hagane.app, hagane.cloud.db, config, "correct-horse")
    assert (await local.call("GET", "/network/v2.0/networks"))["networks"] == []
    await hagane.stop()
