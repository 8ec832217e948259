"""Numbers with what they are to be compared with, and the table that shows them."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Number:
    """One measured value. `target` None: there is none, it is told for orientation.

    `floor` is what the same server and framework reach when they answer a constant (`durable`: after one committed
    row); `peer` is what a real service needs for the same thing on the same kind of machine.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    more: bool = True  # whether more is better
    floor: float | None = None
    peer: str = ""
    note: str = ""

    @property
    def good(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.more else self.value <= self.target

    @property
    def share(self) -> float | None:
        """Of the floor, how much is left."""
        return self.value / self.floor if self.floor else None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"good": self.good, "share": self.share}


def table(numbers: list[Number]) -> str:
    head = ("", "measured", "target", "", "floor", "share", "beside it")
    rows = [head, *(_cells(number) for number in numbers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)),
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _cells(number: Number) -> tuple[str, ...]:
    target = "" if number.target is None else f"{'≥' if number.more else '≤'} {_text(number.target)}"
    verdict = {True: "ok", False: "MISSED", None: ""}[number.good]
    share = "" if number.share is None else f"{number.share:.0%}"
    floor = "" if number.floor is None else _text(number.floor)
    beside = "; ".join(filter(None, (number.peer, number.note)))
    return number.name, f"{_text(number.value)} {number.unit}", target, verdict, floor, share, beside


def _text(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
