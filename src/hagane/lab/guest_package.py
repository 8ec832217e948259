"""Whole Debian packages in the guest image, with all that they depend on: real tools beside busybox's small ones.

unpack ─▶ leave out what programs run without (documents, translations, the packages' own scripts) ─▶ copy over busybox

The guest has one folder for all programs; what packages put into four goes there.
"""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hagane.lab import debs

TESTING = ("bash", "curl", "iproute2", "iputils-ping", "ncat", "nmap", "procps", "psmisc", "python3-minimal", "tcpdump")
"""What tests of networks ask guests for."""

PROGRAMS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
USELESS = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug"),
    *("usr/share/bash-completion", "usr/share/base-files", "usr/share/perl5", "usr/share/debconf", "usr/lib/systemd"),
    *("lib/systemd", "lib64", "var", "etc/profile.d", "etc/init.d", "etc/issue", "etc/os-release"),
)
ABSENT = ("adduser", "base-files", "debconf", "dpkg", "gcc-12-base", "mawk", "passwd", "perl-base", "tar")
"""Packages that others depend on only to be installed."""
USERS = {"tcpdump": 100}
"""Users whom a package's own script would make, and who run the program of that name."""


def fetch(cache: Path, names: tuple[str, ...]) -> list[Path]:
    """The package files. Errors: Unavailable, DeviceFailed."""
    folder = cache / f"debs-with-{hashlib.sha256(repr(names).encode()).hexdigest()[:12]}"
    found = debs.closure(folder, names)
    return [file for file in found if file.name.partition("_")[0] not in ABSENT]


def install(root: Path, packages: list[Path], scratch: Path) -> None:
    """Put them into a root file system; a file that is there gives way. `scratch`: a folder that does not exist yet."""
    debs.unpack(packages, scratch)
    for file, name in _files(scratch):
        target = root / name
        if file.is_symlink() and Path(_folded(str(file.readlink()).lstrip("/"))) == Path(name):
            continue  # from one folder of programs into another, which are one here
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(file, target, follow_symlinks=False)
    if (root / "bin/ncat").exists():
        (root / "bin/nc").unlink(missing_ok=True)
        (root / "bin/nc").symlink_to("ncat")
    if (root / "bin/bash").exists():
        _use_bash(root)
    for name, number in USERS.items():
        if (root / "bin" / name).exists():
            _append(root / "etc/passwd", f"{name}:x:{number}:{number}:{name}:/:/bin/false\n")
            _append(root / "etc/group", f"{name}:x:{number}:\n")


def _append(file: Path, line: str) -> None:
    file.write_text(file.read_text() + line)


def _use_bash(root: Path) -> None:
    """busybox's shell runs busybox's own programs, whatever else is in the path: so it is the boot's alone."""
    users = root / "etc/passwd"
    users.write_text(users.read_text().replace(":/bin/sh\n", ":/bin/bash\n"))
    (root / "etc/shells").write_text("/bin/sh\n/bin/bash\n")
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to("bash")
    for script in (root / "etc/hagane").iterdir():
        if not (root / "bin" / script.name).is_symlink():  # else a user's command
            script.write_text(script.read_text().replace("#!/bin/sh\n", "#!/bin/busybox sh\n", 1))


def _files(scratch: Path) -> Iterator[tuple[Path, str]]:
    """Each file, and its name in the guest."""
    for file in sorted(scratch.rglob("*")):
        name = str(file.relative_to(scratch))
        if (file.is_symlink() or not file.is_dir()) and not any(name.startswith(useless) for useless in USELESS):
            yield file, _folded(name)


def _folded(name: str) -> str:
    folder = next((folder for folder in PROGRAMS if name.startswith(f"{folder}/")), None)
    return name if folder is None else f"bin{name.removeprefix(folder)}"
