"""What a run of the foreign suite is summed up to, for a person."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from foreign.tempest import Call, Outcome

SLOWEST = 10
ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lines(outcome: Outcome, *, concurrency: int, computed: float) -> Iterator[str]:
    """Counts, what did not pass, and where the time went."""
    counts = outcome.counts
    told = ", ".join(f"{counts[word]} {word}" for word in ("passed", "skipped", "failed"))
    yield f"{counts.total()} tests: {told}, in {outcome.seconds:.0f} s"
    yield from (f"  skipped  {name}: {why}" for name, why in sorted(outcome.skipped.items()))
    yield from (f"  FAILED   {name}" for name in sorted(outcome.failed))
    waited, whole = sum(call.seconds for call in outcome.calls), outcome.seconds * concurrency
    share = waited / whole if whole else 0.0
    yield f"{len(outcome.calls)} calls took {waited:.1f} s, {share:.0%} of the {concurrency} workers' time"
    yield f"Hagane computed {computed:.1f} s"
    yield f"the slowest {SLOWEST} calls:"
    for call in sorted(outcome.calls, key=lambda call: call.seconds, reverse=True)[:SLOWEST]:
        yield f"  {call.seconds:7.3f} s  {call.status} {call.method:<6} {_short(call)}"


def _short(call: Call) -> str:
    return f"{ID.sub('{id}', call.path.partition('?')[0]):<58} {call.test}"
