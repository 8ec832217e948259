"""What can be turned on a simulated Host: how long things take, and what goes wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hagane.errors import HaganeError, Unavailable


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds that each kind of work takes; the defaults are near a real Host's."""

    image: float = 0.5  # once per image
    disk: float = 0.01
    define: float = 0.002
    start: float = 0.25
    stop: float = 0.2
    shutdown: float = 2.0  # the guest, asked to shut down
    plug: float = 0.03
    unplug: float = 0.25
    copy: float = 0.5  # a disk into another
    migrate: float = 1.0  # a machine that runs, to another Host
    pause: float = 0.005
    suspend: float = 0.2
    remove: float = 0.02
    snapshot: float = 0.2

    @classmethod
    def none(cls) -> "Delays":
        """Everything at once: for benchmarks of what stands above the driver."""
        return cls(*(0.0 for _ in cls.__slots__))


@dataclass(slots=True)
class _Fault:
    error: HaganeError
    times: int | None
    machine_id: str | None
    after: bool


class Faults:
    """Failures to come, by operation: a method's name ("read"), or a step's within `apply` ("Start", "MakeDisk")."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.dead = False
        self._faults: dict[str, list[_Fault]] = {}

    def fail(
        self,
        operation: str,
        error: HaganeError,
        *,
        times: int | None = 1,
        machine_id: str | None = None,
        after: bool = False,
    ) -> None:
        """Let `operation` fail the next `times` times (None: always); `after`: it is done, only its answer is lost."""
        self._faults.setdefault(operation, []).append(_Fault(error, times, machine_id, after))

    def clear(self) -> None:
        self._faults.clear()

    def before(self, operation: str, machine_id: str | None = None) -> None:
        """Count a call, and raise what it was told to."""
        self.calls[operation] += 1
        if self.dead:
            raise Unavailable("the Host does not answer")
        self._strike(operation, machine_id, lambda fault: not fault.after)

    def after(self, operation: str, machine_id: str | None = None) -> None:
        """The call has been done; raise if its answer is to be lost."""
        if self.dead:
            raise Unavailable("the Host does not answer any more")
        self._strike(operation, machine_id, lambda fault: fault.after)

    def _strike(self, operation: str, machine_id: str | None, applies: Callable[[_Fault], bool]) -> None:
        for fault in self._faults.get(operation, ()):
            if applies(fault) and fault.machine_id in (None, machine_id) and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                raise type(fault.error)(fault.error.message, code=fault.error.code, detail=fault.error.detail)
