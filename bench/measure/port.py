"""Ports: created, each durable, and seen in the Northbound database; listed; and the same with 50,000 present."""

import json
import re
import time
from itertools import count

import load
from central import Central, Watch
from cloud import Cloud
from report import Number

from measure import Runs
from measure.floor import Floor

PATH = "/network/v2.0/ports"
ID = re.compile(rb'"id":"([0-9a-f-]{36})"')
BULK = 100
PER_NETWORK = 1000


class Ports:
    """Rounds over one cloud, which has an OVN; without one (central None) nothing is said about OVN."""

    def __init__(self, cloud: Cloud, central: Central | None) -> None:
        self._cloud, self._central = cloud, central
        self.create, self.list, self.crowded = Runs(), Runs(), Runs()
        self.lags: list[tuple[float, float]] = []  # (median, p99) of each round, seconds
        self._numbers = count()
        quota = {"port": -1, "network": -1, "subnet": -1}
        cloud.ask("PUT", f"/network/v2.0/quotas/{cloud.project}", {"quota": quota})
        self._network = self._make_network()
        self._body = json.dumps({"port": {"network_id": self._network}}).encode()

    def _make_network(self) -> str:
        number = next(self._numbers)
        made = self._cloud.ask("POST", "/network/v2.0/networks", {"network": {"name": f"bench-{number}"}})
        network: str = made["network"]["id"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": f"10.{number}.0.0/16"}
        self._cloud.ask("POST", "/network/v2.0/subnets", {"subnet": subnet})
        return network

    def round(self, runs: Runs | None = None, seconds: float = 2.0) -> None:
        answers: list[tuple[bytes, float]] = []
        watch = Watch(self._central.nb) if self._central else None
        request = load.request("POST", PATH, self._cloud.token, self._body)
        (runs or self.create).go(
            self._cloud, request, 201, seconds=seconds, keep=lambda *answer: answers.append(answer)
        )
        if watch:
            time.sleep(1.0)
            self.lags.append(_lags(answers, watch.stop()))

    def lists(self, rounds: int = 5) -> None:
        """One client lists 1,000 ports."""
        missing = 1000 - len(self._cloud.ask("GET", f"{PATH}?fields=id&limit=1000")["ports"])
        if missing > 0:
            self.fill(missing)
        self.settle()
        for _ in range(rounds):
            request = load.request("GET", f"{PATH}?limit=1000", self._cloud.token)
            self.list.go(self._cloud, request, 200, clients=1, seconds=0.5)

    def fill(self, total: int) -> float:
        """Have `total` more ports, on networks of 1,000, made 100 by a request; returns the seconds it took."""
        began = time.monotonic()
        bodies = []
        for first in range(0, total, PER_NETWORK):
            network = self._make_network()
            size = min(PER_NETWORK, total - first)
            bodies += [(network, min(BULK, size - at)) for at in range(0, size, BULK)]
        requests = (
            load.request("POST", PATH, self._cloud.token, json.dumps({"ports": [{"network_id": n}] * many}).encode())
            for n, many in bodies
        )
        load.run(self._cloud.port, requests, clients=4).expect(201)
        return time.monotonic() - began

    def settle(self, limit: float = 300.0) -> None:
        """Wait until OVN and the cloud have digested what they got: all of them are idle for three seconds."""
        until, quiet = time.monotonic() + limit, 0
        while quiet < 3 and time.monotonic() < until:
            before = self._cpu()
            time.sleep(1.0)
            quiet = quiet + 1 if self._cpu() - before < 0.15 else 0

    def _cpu(self) -> float:
        return self._cloud.cpu() + (sum(self._central.cpu()) if self._central else 0.0)

    def numbers(self, floor: Floor) -> list[Number]:
        found = [
            Number("port creates, durable", self.create.rate, "/s", 600, floor=floor.durable.rate,
                   peer="Neutron 8.5/s", note=self.create.note),
            Number("  p99", self.create.ms(0.99), "ms", 100, more=False),
            *self._lag_numbers("  until in the Northbound database"),
        ]  # fmt: skip
        if self.list.results:
            found.append(Number("1,000 ports listed", self.list.ms(0.5), "ms", 15, more=False, peer="Neutron 743 ms",
                                note=self.list.note))  # fmt: skip
        return found

    def crowd(self, total: int) -> list[Number]:
        """The same with `total` ports present."""
        alone, seconds = self.create.rate, self.fill(total)
        self.settle()
        self.lags.clear()
        for _ in range(3):
            self.round(self.crowded, 3.0)
        return [
            Number(f"{total:,} ports made, 100 by a request", total / seconds, "/s"),
            Number(f"port creates among {total:,}", self.crowded.rate, "/s", 600, floor=alone,
                   note=self.crowded.note + "; floor: among none"),
            *self._lag_numbers(f"  until in the Northbound database, among {total:,}"),
            Number("  memory of the process", self._cloud.rss(), "MB"),
        ]  # fmt: skip

    def _lag_numbers(self, name: str) -> list[Number]:
        if not self.lags:
            return []
        median, late = (min(lag[column] for lag in self.lags) * 1000 for column in (0, 1))
        return [Number(name, median, "ms", 100, more=False, peer="Neutron 1,800 ms", note=f"median; p99 {late:.1f} ms")]


def _lags(answers: list[tuple[bytes, float]], seen: dict[str, float]) -> tuple[float, float]:
    """Seconds from each answer until its port was seen in OVN: median and p99. One that was not counts as for ever."""
    lags = []
    for answer, moment in answers:
        found = ID.search(answer)
        lags.append(seen.get(found[1].decode() if found else "", float("inf")) - moment)
    lags.sort()
    return lags[len(lags) // 2], lags[len(lags) * 99 // 100]
