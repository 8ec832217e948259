"""The floor: see bench/floor.py."""

import sys
from pathlib import Path

import load
from cloud import ROOT, Process, free_port
from report import Number

from measure import Runs


class Floor:
    """Constants from the same server and framework, in rounds."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        command = [sys.executable, str(ROOT / "bench" / "floor.py"), str(port), f"sqlite:{folder}/floor.db"]
        self._process = Process()
        self._process.start(command, port, folder / "floor.log")
        self.constant, self.bare, self.durable = Runs(), Runs(), Runs()

    def round(self) -> None:
        self.constant.go(self._process, load.request("GET", "/healthz"), 200)
        self.bare.go(self._process, load.request("GET", "/bare"), 200, seconds=0.7)
        self.durable.go(self._process, load.request("POST", "/durable"), 201)

    def numbers(self) -> list[Number]:
        return [
            Number("a constant by uvicorn alone", self.bare.rate, "/s", note=self.bare.note),
            Number("a constant by our framework", self.constant.rate, "/s", floor=self.bare.rate,
                   note=self.constant.note),
            Number("one durable row by our framework", self.durable.rate, "/s", floor=self.constant.rate,
                   note=self.durable.note),
        ]  # fmt: skip

    def stop(self) -> None:
        self._process.stop()
