"""How far the images that Nodes read have come, and tokens that give an image once, to one Node."""

import time
from collections import deque
from dataclasses import dataclass, field

from hagane.baremetal.provision import Progress
from hagane.errors import ConfigError, NotFound
from hagane.state.secret import Secrets

WINDOW = 4.0  # seconds over which a rate is taken
KEPT = 1000  # spent tokens that are remembered; older ones belong to deployments that ended


@dataclass(slots=True)
class Stream:
    """One Node's image on its way. `add` is called by the thread that sends."""

    total: int
    sent: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=64))
    problem: str = ""

    def add(self, count: int) -> None:
        self.sent += count
        now = time.monotonic()
        if not self.marks or now - self.marks[-1][0] > WINDOW / 32:
            self.marks.append((now, self.sent))

    def progress(self) -> Progress:
        now = time.monotonic()
        recent = [mark for mark in tuple(self.marks) if now - mark[0] < WINDOW]
        seconds = now - recent[0][0] if recent else 0.0
        rate = (self.sent - recent[0][1]) / seconds if seconds > 0.1 else 0.0
        return Progress(self.sent, self.total, rate, self.problem)


class Streams:
    """By Node; what is known of the last image of each."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}

    def begin(self, node_id: str, total: int, start: int) -> None:
        self._streams[node_id] = Stream(total, start)

    def add(self, node_id: str, count: int) -> None:
        """So many bytes more went out. From any thread."""
        if (known := self._streams.get(node_id)) is not None:
            known.add(count)

    def fail(self, node_id: str, why: str) -> None:
        """It cannot be had, or ended early. From any thread."""
        self._streams.setdefault(node_id, Stream(0)).problem = why

    def forget(self, node_id: str) -> None:
        self._streams.pop(node_id, None)

    def progress(self, node_id: str) -> Progress | None:
        known = self._streams.get(node_id)
        return known.progress() if known is not None else None


class Tokens:
    """A token says, under encryption, which image for which Node; so a restart forgets none, and no two are alike."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._spent: deque[str] = deque(maxlen=KEPT)

    def make(self, node_id: str, image_id: str) -> str:
        return self._secrets.encrypt(f"image {node_id} {image_id}")

    def read(self, token: str, node_id: str) -> str:
        """The image's id. Raises NotFound for a token that is spent, forged, or another Node's."""
        try:
            what, node, image = self._secrets.decrypt(token).split(" ")
        except (ConfigError, ValueError):
            raise NotFound("no such image") from None
        if what != "image" or node != node_id or token in self._spent:
            raise NotFound("no such image")
        return image

    def spend(self, token: str) -> None:
        """All of the image went out: another reader would be somebody else."""
        self._spent.append(token)
