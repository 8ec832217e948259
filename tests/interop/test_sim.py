"""The official interop list, run by Tempest, unmodified, against simulated machines: a subprocess against a process."""

from pathlib import Path

import pytest

import interop
from foreign import tempest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LOGIN = {  # both do nothing but log in to a machine
    "tempest.api.compute.servers.test_create_server.ServersTestJSON.test_host_name_is_same_as_server_name",
    "tempest.api.compute.servers.test_create_server.ServersTestJSON.test_verify_created_server_vcpus",
}
SECONDS = 300


def test_the_list_passes_and_leaves_nothing(tmp_path: Path) -> None:
    with interop.simulated(tmp_path) as stand:
        settings, before = (tmp_path / "tempest.conf").read_text(), stand.look()
        again = stand.process.command("tempest-conf", str(tmp_path / "tempest.conf"))
        assert again.returncode == 0 and " made" not in again.stderr, again.stderr
        assert (tmp_path / "tempest.conf").read_text() == settings
        outcome = tempest.run(tmp_path, tempest.names(), concurrency=2, timeout=2 * SECONDS)
        assert not outcome.failed, (tmp_path / "run.log").read_text()[-6000:]
        assert set(outcome.skipped) == LOGIN
        assert outcome.counts == {"passed": 215, "skipped": 2, "failed": 0}
        assert stand.left(before) == {}
        assert outcome.seconds < SECONDS
