"""Debian packages as files: downloaded from the machine's own mirror, unpacked, never installed. Images are made of
them.

A name may be one that always stands for the newest of a kind ("linux-image-amd64"): then its dependency is taken.
"""

import shutil
import tempfile
from pathlib import Path

from hagane.errors import Unavailable
from hagane.lab.process import tool

PATIENT = ("-o", "Acquire::Retries=5")  # a mirror may be away for a moment


def fetch(folder: Path, packages: tuple[str, ...]) -> list[Path]:
    """The package files, in the order of the names; what the folder lacks is downloaded. Errors: Unavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [_kernel(folder, name) if name.startswith("linux-image-") else name for name in packages]
    missing = [name for name in names if not list(folder.glob(f"{name}_*.deb"))]
    if missing:
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            tool("apt-get", "download", "-qq", *PATIENT, *missing, cwd=Path(partial), timeout=300)
            for file in Path(partial).glob("*.deb"):
                file.replace(folder / file.name)
    return [max(folder.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime) for name in names]


def unpack(packages: list[Path], target: Path) -> None:
    for package in packages:
        tool("dpkg-deb", "-x", package, target, timeout=120)


def _kernel(folder: Path, name: str) -> str:
    """The package that really holds the kernel; apt is not asked where one is in the folder already."""
    flavor = name.removeprefix("linux-image-")
    there = [path.name.partition("_")[0] for path in folder.glob(f"linux-image-[0-9]*-{flavor}_*.deb")]
    exact = sorted(one for one in there if one.removesuffix(f"-{flavor}").count("-") == 3)
    if exact:
        return exact[-1]
    for line in tool("apt-cache", "depends", name).splitlines():
        word, _, found = line.strip().partition(": ")
        if word == "Depends":
            return found
    raise Unavailable(f"apt does not know the package {name}: run `apt-get update`.")


def closure(folder: Path, packages: tuple[str, ...]) -> list[Path]:
    """The files of these packages and of all that they depend on, as for an empty machine. Errors: Unavailable."""
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    nothing = folder / "status"
    nothing.touch()
    options = {
        "Dir::State::status": nothing.resolve(), "Dir::Cache::archives": folder.resolve(), "Debug::NoLocking": 1,
        "APT::Sandbox::User": "root", "APT::Install-Recommends": "false",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    tool("apt-get", "-qq", "-y", "--download-only", *PATIENT, *words, "install", *packages, timeout=600)
    return sorted(folder.glob("*.deb"))


def modules(root: Path, parts: Path, version: str, names: tuple[str, ...]) -> None:
    """Copy kernel modules and what they depend on, and make them known to modprobe. A kernel may lack some."""
    tree = Path("lib/modules") / version
    depends = {}
    for line in (parts / tree / "modules.dep").read_text().splitlines():
        file, _, needs = line.partition(":")
        depends[Path(file).stem.replace("-", "_")] = [file, *needs.split()]
    for file in {file for name in names for file in depends.get(name.replace("-", "_"), ())}:
        (root / tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(parts / tree / file, root / tree / file)
    for file in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(parts / tree / file, root / tree / file)
    tool("depmod", "-b", root, version)
