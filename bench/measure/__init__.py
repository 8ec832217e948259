"""What is measured, one module per subject. Each rate is the best of several short runs, taken in turn with the
others: whoever else uses the machine disturbs all alike, and the best run is the least disturbed one."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import load
from cloud import Process


@dataclass
class Runs:
    """The runs of one measure so far."""

    results: list[load.Result] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)  # CPU of the server per request, microseconds

    def go(
        self, process: Process, requests: Any, status: int, *, clients: int = 16, seconds: float = 1.5, **more: Any
    ) -> load.Result:
        """Add a run: the same request over and over, or an iterable of requests."""
        source = itertools.repeat(requests) if isinstance(requests, bytes) else requests
        cpu = process.cpu()
        result = load.run(process.port, source, clients=clients, seconds=seconds, **more).expect(status)
        self.server_us.append((process.cpu() - cpu) / max(1, result.count) * 1e6)
        self.results.append(result)
        return result

    @property
    def rate(self) -> float:
        return max(result.rate for result in self.results)

    def ms(self, quantile: float) -> float:
        return min(result.quantile(quantile) for result in self.results) * 1000

    @property
    def note(self) -> str:
        client = min(result.client_us for result in self.results)
        latency = f"p50 {self.ms(0.5):.1f} ms, p99 {self.ms(0.99):.1f} ms"
        return f"{latency}; CPU {min(self.server_us):.0f} µs, client {client:.0f} µs"
