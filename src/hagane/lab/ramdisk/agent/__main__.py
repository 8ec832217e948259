"""python3 -m agent [--root FOLDER] [--port PORT]: run in the ramdisk, or in a scratch root for tests."""

import sys
import time
from pathlib import Path

from .agent import Agent
from .place import place


def main() -> None:
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    here = place(Path(given.get("--root", "/")))
    print(f"HAGANE-AGENT started at {time.monotonic():.1f} s", flush=True)
    agent = Agent(here, port=int(given.get("--port", "9999")))
    agent.run()


main()
