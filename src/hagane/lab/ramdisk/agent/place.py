"""Where the program runs: the root of its file system (a scratch folder in tests) and the kernel's parameters."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Place:
    root: Path = Path("/")
    parameters: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """A small file's text without surrounding white space; "" if it is not there."""
        try:
            return self.path(name).read_text(errors="replace").strip()
        except OSError:
            return ""

    @property
    def real(self) -> bool:
        """Whether this is the machine itself and not a test's scratch folder."""
        return self.root == Path("/")

    @property
    def boot_mode(self) -> str:
        return "uefi" if self.path("sys/firmware/efi").exists() else "bios"

    def setting(self, name: str, default: str = "") -> str:
        """A parameter; the original takes dashes and underscores alike."""
        return self.parameters.get(name.replace("_", "-"), default)

    def flag(self, name: str) -> bool:
        return self.setting(name).lower() in ("1", "true", "yes", "on")

    @property
    def boot_mac(self) -> str:
        """The MAC of the NIC that was booted from (BOOTIF=01-52-54-00-...), or ""."""
        given = self.parameters.get("bootif", "").lower().replace("-", ":")
        return given[-17:] if re.fullmatch(r"([0-9a-f]{2}:){0,1}([0-9a-f]{2}:){5}[0-9a-f]{2}", given) else ""


def place(root: Path = Path("/")) -> Place:
    try:
        words = shlex.split((root / "proc/cmdline").read_text())
    except (OSError, ValueError):
        words = []
    pairs = (word.partition("=") for word in words)
    return Place(root, {name.lower().replace("_", "-"): value or "1" for name, _, value in pairs})
