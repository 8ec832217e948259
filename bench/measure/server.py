"""Servers on simulated Hosts that take no time: ordered, ACTIVE, listed; and 10,000 of them."""

import json
import re
import sqlite3
import time
from datetime import datetime

import load
from cloud import Cloud
from report import Number

from measure import Runs
from measure.floor import Floor

PATH = "/compute/v2.1/servers"
UNLIMITED = {"instances": -1, "cores": -1, "ram": -1}
WORKED = re.compile(r'hagane_work_seconds_(sum|count)\{kind="host",outcome="\w+"\} ([0-9.e+-]+)')


class Servers:
    """Rounds over one cloud with the simulated OVN: each server has a port of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.order, self.list, self.active = Runs(), Runs(), []
        cloud.ask("PUT", f"/network/v2.0/quotas/{cloud.project}", {"quota": {"port": -1}})
        cloud.ask("PUT", f"/compute/v2.1/os-quota-sets/{cloud.project}", {"quota_set": UNLIMITED})
        network = cloud.ask("POST", "/network/v2.0/networks", {"network": {"name": "bench"}})["network"]["id"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/8"}
        cloud.ask("POST", "/network/v2.0/subnets", {"subnet": subnet})
        self._body = {"name": "bench", "imageRef": self._image(), "flavorRef": self._flavor(),
                      "networks": [{"uuid": network}]}  # fmt: skip

    def _image(self) -> str:
        image = {"name": "bench", "container_format": "bare", "disk_format": "raw"}
        made: str = self._cloud.ask("POST", "/image/v2/images", image)["id"]
        self._cloud.ask("PUT", f"/image/v2/images/{made}/file", b"\0" * 4096)
        return made

    def _flavor(self) -> str:
        flavors = self._cloud.ask("GET", "/compute/v2.1/flavors")["flavors"]
        found: str = next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.nano")
        return found

    def _request(self, **more: object) -> bytes:
        return load.request("POST", PATH, self._cloud.token, json.dumps({"server": self._body | more}).encode())

    def round(self, seconds: float = 2.0) -> None:
        began = time.monotonic()
        result = self.order.go(self._cloud, self._request(), 202, seconds=seconds)
        self._wait()
        self.active.append(result.count / (time.monotonic() - began))

    def _wait(self, limit: float = 600.0) -> None:
        """Until no server is being built. Raises RuntimeError if one failed."""
        until = time.monotonic() + limit
        while self._cloud.ask("GET", f"{PATH}?status=BUILD&limit=1")["servers"]:
            if time.monotonic() > until:
                raise RuntimeError("some servers are still being built")
            time.sleep(0.02)
        if failed := self._cloud.ask("GET", f"{PATH}/detail?status=ERROR&limit=1")["servers"]:
            raise RuntimeError(f"a server failed: {failed[0]['fault']}")

    def lists(self, rounds: int = 5) -> None:
        """One client lists 1,000 servers with all their details."""
        missing = 1000 - len(self._cloud.ask("GET", f"{PATH}?limit=1000")["servers"])
        if missing > 0:
            self.many(missing)
        for _ in range(rounds):
            request = load.request("GET", f"{PATH}/detail?limit=1000", self._cloud.token)
            self.list.go(self._cloud, request, 200, clients=1, seconds=0.5)

    def many(self, total: int) -> float:
        """Have `total` more servers ACTIVE, ordered 50 by a request; returns the seconds it took."""
        began = time.monotonic()
        counts = [50] * (total // 50) + ([total % 50] if total % 50 else [])
        requests = (self._request(min_count=count, max_count=count) for count in counts)
        load.run(self._cloud.port, requests, clients=4).expect(202)
        self._wait()
        return time.monotonic() - began

    def _built(self) -> list[float]:
        """Seconds from order to ACTIVE of each server, from its events."""
        with sqlite3.connect(f"file:{self._cloud.state}/hagane.db?mode=ro", uri=True) as db:
            rows = db.execute("SELECT started_at, finished_at FROM event WHERE kind = 'server' AND action = 'create' "
                              "AND step = '' AND result = 'Success'").fetchall()  # fmt: skip
        db.close()
        return sorted(
            (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() for start, end in rows
        )

    def numbers(self, floor: Floor) -> list[Number]:
        built = self._built()
        return [
            Number("server creates, POST to 202", self.order.rate, "/s", 200, floor=floor.durable.rate,
                   note=self.order.note),
            Number("  p99", self.order.ms(0.99), "ms", 100, more=False),
            Number("  until all are ACTIVE", max(self.active), "/s", 200, peer="Nova 2/s",
                   note=f"order to ACTIVE median {built[len(built) // 2] * 1000:.0f} ms"),
            Number("1,000 servers listed with details", self.list.ms(0.5), "ms"),
        ]  # fmt: skip

    def crowd(self, total: int) -> list[Number]:
        """`total` servers in one process."""
        before, seconds = self._cloud.rss(), self.many(total)
        after, (listed, host) = self._cloud.rss(), self._passes()
        return [
            Number(f"{total:,} servers ACTIVE", total / seconds, "/s", 200, note=f"in {seconds:.1f} s"),
            Number("  memory per server", (after - before) / total * 1024, "KB", note=f"{after:.0f} MB in all"),
            Number(f"full pass over {total:,} settled servers", host, "s", more=False,
                   note="reading all Hosts and comparing, in the background"),
            Number("  and over their network rows", listed, "s", more=False, note="as hagane doctor does it"),
        ]  # fmt: skip

    def _passes(self) -> tuple[float, float]:
        """Seconds of a full pass: over the network's rows, and over all Hosts (from the metrics, since it runs by
        itself every ten seconds)."""
        time.sleep(2.0)
        began = time.monotonic()
        self._cloud.ask("GET", "/hagane/v1/findings")
        listed = time.monotonic() - began
        first = self._worked()
        time.sleep(25.0)
        second = self._worked()
        hosts = len(self._cloud.ask("GET", "/hagane/v1/status")["hosts"])
        return listed, (second["sum"] - first["sum"]) / max(1.0, second["count"] - first["count"]) * hosts

    def _worked(self) -> dict[str, float]:
        text = self._cloud.call("GET", "/metrics")[1].decode()
        found = {"sum": 0.0, "count": 0.0}
        for name, value in WORKED.findall(text):
            found[name] += float(value)
        return found
