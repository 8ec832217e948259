"""An Ansible playbook with the modules of `openstack.cloud`, as the `ansible` package brings them.

build.yml ─▶ build.yml again, which changes nothing, and see.yml, which looks ─▶ end.yml ─▶ nothing is left
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foreign import ansible
from tests.clients.place import KEY, SMITH, Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PLAYBOOKS = Path(__file__).with_name("playbooks")
RECAP = re.compile(r"^localhost\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=0\s+failed=0\s+skipped=0", re.MULTILINE)
SECONDS = 300
SETTINGS = """
[defaults]
home = {home}
collections_path = {collections}
localhost_warning = false
nocolor = true
[connection]
pipelining = true
"""


def test_a_story(place: Place, tmp_path: Path) -> None:
    before = place.look()
    variables = {"password": SMITH, "key": KEY, "image": str(place.image(tmp_path))}
    place.clouds_of(tmp_path)
    ansible.install()
    (tmp_path / "ansible.cfg").write_text(SETTINGS.format(home=tmp_path / "ansible", collections=ansible.COLLECTIONS))

    def changed(*playbooks: str) -> int:
        return play(tmp_path, variables, *playbooks)

    assert changed("build.yml") == 20
    assert changed("build.yml", "see.yml") == 0
    assert changed("end.yml") == 15
    place.nothing_left(before)


def play(folder: Path, variables: dict[str, str], *playbooks: str) -> int:
    """How many tasks changed something."""
    given = [word for name, value in variables.items() for word in ("-e", f"{name}='{value}'")]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", *given,
         "-e", f"ansible_python_interpreter={sys.executable}", *(PLAYBOOKS / name for name in playbooks)],
        cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    found = RECAP.search(done.stdout)
    assert done.returncode == 0 and found, done.stdout[-6000:] + done.stderr[-2000:]
    return int(found[2])


def environment(folder: Path) -> dict[str, str]:
    """Nothing of this machine's own Ansible and clouds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OS_"))}
    library = {"PYTHONPATH": str(ansible.LIBRARY), "PYTHONWARNINGS": "ignore"}
    return kept | library | {"OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"), "LC_ALL": "C.UTF-8"}
