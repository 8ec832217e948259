"""What the lab repairs together, as data: its daemons, and the call that puts it right."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hagane.lab.process import Daemon


@dataclass(frozen=True, slots=True)
class Part:
    """OVN's centre, one Host, or a part of a rack."""

    name: str
    daemons: Sequence[Daemon]
    repair: Callable[[], Awaitable[object]]
    wanted: Callable[[], bool] = lambda: True  # False: it was taken down, or broken on purpose
