"""Ansible's modules for OpenStack (the collection `openstack.cloud`), out of the package `ansible`.

The package is half a gigabyte in twenty thousand files, of which these modules are a hundred. So pip downloads it and
compares it with tests/clients/requirements.lock, and nothing else of it is unpacked. Beside the modules is the
openstacksdk that they can use, an older one than ours. What runs them, ansible-core, is in our own environment.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "tests/clients/requirements.lock"
HOME = Path(sys.prefix) / "ansible"
COLLECTIONS = HOME / "collections"  # for Ansible's collections_path
LIBRARY = HOME / "library"  # for the modules' PYTHONPATH


def install() -> None:
    """Fill both folders: done once, and again when the lock file has changed."""
    stamp = HOME / "installed.lock"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes():
        return
    print("installing Ansible's modules for OpenStack", flush=True)
    shutil.rmtree(HOME, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="hagane-") as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", folder]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", LOCK], check=True)
        _unpack(next(Path(folder).glob("ansible-*.whl")), COLLECTIONS, "ansible_collections/openstack/")
        _unpack(next(Path(folder).glob("openstacksdk-*.whl")), LIBRARY, "")
    shutil.copyfile(LOCK, stamp)


def _unpack(wheel: Path, folder: Path, start: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(start)])
