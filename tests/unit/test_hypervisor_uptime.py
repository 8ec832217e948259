"""How long a Host has been up, in the words of uptime(1)."""

from pathlib import Path

import pytest

from hagane.drivers.hypervisor import libvirt_facts
from hagane.drivers.hypervisor.sim_guest import uptime_text

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 min"), (59 * MINUTE + 59, "59 min"), (HOUR, " 1:00"), (10 * HOUR + 9 * MINUTE, "10:09"),
        (DAY + 5 * MINUTE, "1 day, 5 min"), (93 * DAY + 18 * HOUR + 25 * MINUTE, "93 days, 18:25"),
    ],
)  # fmt: skip
def test_of_a_simulated_host(seconds: int, words: str) -> None:
    now = 1_000_000_000.0  # 2001-09-09 01:46:40
    assert uptime_text(now - seconds, now) == f" 01:46:40 up {words},  0 users,  load average: 0.00, 0.00, 0.00"


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("qemu:///system", True), ("qemu+unix:///system?socket=/run/libvirt/libvirt-sock", True),
        ("qemu+ssh://root@host3/system", False), ("qemu+tls://host3/system", False), ("qemu://host3/system", False),
        ("qemu+tcp://[2001:db8::1]/system", False), ("qemu+ssh:///system", False),
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(uri: str, local: bool) -> None:
    assert libvirt_facts.is_local(uri) is local


def test_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program says; where there is none, nothing."""
    program = tmp_path / "uptime"
    program.write_text('#!/bin/sh\necho " 21:40:18 up 10:09,  2 users,  load average: 5.05, 4.17, 3.47 $LC_ALL"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert libvirt_facts.read_uptime() == " 21:40:18 up 10:09,  2 users,  load average: 5.05, 4.17, 3.47 C"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert libvirt_facts.read_uptime() is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert libvirt_facts.read_uptime() is None
