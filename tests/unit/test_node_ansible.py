"""Nodes whose deploy interface is ansible: key, kernel command line, and which playbook may be named."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hagane.drivers.deploy import ansible
from hagane.drivers.deploy.agent import AgentAddress, HttpAgent
from hagane.drivers.deploy.sim import SimAgent
from hagane.errors import DeviceFailed, Invalid
from hagane.reconcile.node_ansible import NodeAnsible


async def nowhere(host: str, port: int) -> None:
    raise OSError(f"{host}:{port} is not there")


def test_the_key_is_the_clouds_and_survives(tmp_path: Path) -> None:
    one, two = NodeAnsible(tmp_path), NodeAnsible(tmp_path)
    word = ansible.sshkey_parameter(one.key)
    assert word == ansible.sshkey_parameter(two.key) and word.startswith("sshkey=ssh-ed25519,AAAA")
    assert not {" ", "'", '"', "$", "\\", "{", ";", "|", "&"} & set(word)  # which a boot loader would act upon
    assert word != ansible.sshkey_parameter(NodeAnsible(tmp_path / "other").key)


@pytest.mark.parametrize("name", ["../x.yml", "/etc/passwd", "none.yml", ".."])
def test_a_playbook_is_a_file_of_the_operators_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "own.yml").write_text("")
    (tmp_path / "x.yml").write_text("")
    found = NodeAnsible(tmp_path)
    assert found.playbook({"driver_info": {"ansible_deploy_playbook": "own.yml"}}) == folder / "own.yml"
    assert found.playbook({"driver_info": {}}) == ansible.DEFAULT
    with pytest.raises(Invalid, match="ansible_deploy_playbook"):
        found.playbook({"driver_info": {"ansible_deploy_playbook": name}})


async def test_all_but_the_image_is_the_ramdisks_own(tmp_path: Path) -> None:
    inner, runs = SimAgent(), ansible.Playbooks()
    key = NodeAnsible(tmp_path).key
    agent = ansible.AnsibleAgent(inner, nowhere, "192.0.2.1", key=key, node={"uuid": "n"}, runs=runs)  # type: ignore[arg-type]
    await agent.call("standby.sync", {})
    loader = await agent.call("image.install_bootloader", {})
    assert inner.did == ["standby.sync"] and loader.state == "SUCCEEDED"
    command = await agent.start("standby.prepare_image", {"image_info": {}})
    with pytest.raises(DeviceFailed) as busy:
        await agent.start("standby.sync", {})
    assert busy.value.code == "AgentBusy" and [one.id for one in await agent.commands()][-1] == command.id
    await runs.close()
    assert (await agent.result(command.id)).state == "FAILED"


def test_what_a_tenant_wrote_is_no_template(tmp_path: Path) -> None:
    """A Server may be called anything, and its name reaches the playbook: Ansible must not evaluate it here."""
    mark = tmp_path / "evaluated"
    told = {
        "name": f"{{{{ lookup('pipe', 'touch {mark}') }}}}", "{{ 1 + 1 }}": ["{{ 2 + 2 }}", 3, None, True, {}],
        "odd": "\"quoted\" \\ back\n\tü \U0001f600 \x7f \x85 # : ' - {% raw %}", "k" * 2000: "",
    }  # fmt: skip
    variables = ansible._variables(tmp_path, {"node": told})
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- {hosts: localhost, connection: local, gather_facts: false, tasks: "
        f"[{{copy: {{dest: {tmp_path}/seen, content: '{{{{ node | to_json | b64encode }}}}'}}}}]}}\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    argv = [ansible._program(), "-i", "localhost,", "-e", f"@{variables}", str(playbook)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(base64.b64decode((tmp_path / "seen").read_text())) == told
    assert not mark.exists()


def test_an_address_never_shows_its_token() -> None:
    address = AgentAddress("http://192.0.2.1:9999", "a-token")
    assert "a-token" not in repr(address)
    assert HttpAgent(address, nowhere).base == "/v1/commands/"  # type: ignore[arg-type]
    with pytest.raises(DeviceFailed):
        HttpAgent(AgentAddress("ftp://x", ""), nowhere)  # type: ignore[arg-type]
