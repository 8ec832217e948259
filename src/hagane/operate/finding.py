"""One line of `hagane doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is wrong (or, if not `bad`, right), and what to do about it."""

    what: str
    remedy: str = ""
    bad: bool = True

    @property
    def mark(self) -> str:
        return "✗" if self.bad else "✓"
