"""The `ansible` deploy interface: a playbook writes the image, over ssh; everything else is the ramdisk's own agent.

    prepare_image ──▶ RUNNING (ansible-playbook ══ssh══ relay on loopback ══Dial══ Node:22) ──▶ SUCCEEDED | FAILED

Ansible's ssh cannot enter the Node's network, so it is given a port on loopback whose connections are dialled onwards.
Which key it shows is told to the ramdisk on its kernel command line (`sshkey_parameter`). A playbook lives and dies
with this process: after a restart its command is unknown, and whoever asks begins the step again.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hagane.drivers.deploy.base import Agent, Command, CommandState, Dial
from hagane.errors import DeviceFailed, Unavailable

PLAYBOOKS = Path(__file__).with_name("playbooks")
DEFAULT = PLAYBOOKS / "deploy.yml"
PREPARE = "standby.prepare_image"
SECONDS = 3600.0
SSH_PORT = 22
_ODD = re.compile(r"[^ !#-\[\]-~]")  # what a quoted text of YAML may not hold as it is, and all that is not ASCII


def key_of(secret: bytes) -> Ed25519PrivateKey:
    """The key that goes with a secret: the same after every restart, so that it need not be kept."""
    seed = hashlib.blake2b(secret, digest_size=32, person=b"hagane-ansible")
    return Ed25519PrivateKey.from_private_bytes(seed.digest())


def sshkey_parameter(key: Ed25519PrivateKey) -> str:
    """What the ramdisk's kernel command line must have: the public key, with a comma, as a space would end it."""
    text = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return "sshkey=" + text.replace(" ", ",")


@dataclass(slots=True)
class Playbooks:
    """The playbooks that run now or have run, by Node: they outlive the AnsibleAgents, which are made for each call."""

    commands: dict[str, Command] = field(default_factory=dict)
    tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    number: "count[int]" = field(default_factory=lambda: count(1))

    async def close(self) -> None:
        """Stop what still runs."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        for key, command in self.commands.items():
            if command.state is CommandState.RUNNING:
                self.commands[key] = replace(command, state=CommandState.FAILED, error="The playbook was stopped.")


class AnsibleAgent:
    """One ramdisk. `inner` is its own agent; `node` what the playbook is told of the Node."""

    def __init__(
        self, inner: Agent, dial: Dial, host: str, *, key: Ed25519PrivateKey, node: Mapping[str, Any], runs: Playbooks,
        playbook: Path = DEFAULT,
    ) -> None:  # fmt: skip
        self.inner, self.dial, self.host, self.key, self.node = inner, dial, host, key, node
        self.runs, self.playbook = runs, playbook
        self.prefix = f"ansible-{node.get('uuid')}-"

    async def commands(self) -> list[Command]:
        return [*await self.inner.commands(), *self._mine()]

    async def result(self, command_id: str) -> Command:
        if not command_id.startswith("ansible-"):
            return await self.inner.result(command_id)
        if command_id not in self.runs.commands:
            raise DeviceFailed("The playbook was interrupted: Hagane was started anew.", code="AgentUnknown")
        return self.runs.commands[command_id]

    async def start(self, name: str, params: Mapping[str, Any]) -> Command:
        if any(one.state is CommandState.RUNNING for one in self._mine()):
            raise DeviceFailed("A playbook runs on the ramdisk.", code="AgentBusy")
        if name == "image.install_bootloader":  # the playbook did
            return Command(f"{self.prefix}0", name, CommandState.SUCCEEDED)
        if name != PREPARE:
            return await self.inner.start(name, params)
        command = Command(f"{self.prefix}{next(self.runs.number)}", name, CommandState.RUNNING)
        self.runs.commands[command.id] = command
        self.runs.tasks[command.id] = asyncio.create_task(self._run(command, params))
        return command

    async def call(self, name: str, params: Mapping[str, Any]) -> Command:
        if name not in (PREPARE, "image.install_bootloader"):
            return await self.inner.call(name, params)
        command = await self.start(name, params)
        if command.id in self.runs.tasks:
            await self.runs.tasks[command.id]
        return self.runs.commands.get(command.id, command)

    def _mine(self) -> list[Command]:
        return [command for key, command in self.runs.commands.items() if key.startswith(self.prefix)]

    async def _run(self, command: Command, params: Mapping[str, Any]) -> None:
        variables = {
            "node": dict(self.node),
            "image": params.get("image_info") or {},
            "configdrive": params.get("configdrive") or "",
        }

        def said(task: str) -> None:
            self.runs.commands[command.id] = replace(command, result={"task": task})

        try:
            tasks = await play(self.playbook, self.host, self.dial, key=self.key, variables=variables, said=said)
            end = replace(
                command, state=CommandState.SUCCEEDED, result={"result": f"{len(tasks)} tasks", "tasks": tasks}
            )
        except (DeviceFailed, Unavailable) as error:
            end = replace(command, state=CommandState.FAILED, error=error.message)
        self.runs.commands[command.id] = end
        self.runs.tasks.pop(command.id, None)


async def play(
    playbook: Path, host: str, dial: Dial, *, key: Ed25519PrivateKey, variables: Mapping[str, Any], said: Any = None
) -> list[str]:
    """Run a playbook on one machine, and return its tasks. Errors: Unavailable (Ansible or ssh), DeviceFailed."""
    async with _relay(dial, host) as port:
        folder, argv = await asyncio.to_thread(_prepare, playbook, port, key, variables)
        try:
            return await _play(argv, folder, said)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _prepare(playbook: Path, port: int, key: Ed25519PrivateKey, variables: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """A folder with what Ansible reads, and its command line."""
    program = _program()
    if not playbook.is_file():
        raise DeviceFailed(f"There is no playbook {playbook.name}.")
    folder = Path(tempfile.mkdtemp(prefix="hagane-ansible-"))
    inventory, told = _inventory(folder, port, key), _variables(folder, variables)
    return folder, [program, "-i", str(inventory), "-e", f"@{told}", str(playbook)]


def _program() -> str:
    beside = Path(sys.executable).with_name("ansible-playbook")
    program = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if program is None:
        raise Unavailable("The deploy interface ansible needs ansible-core: pip install 'hagane[ansible]'.")
    return program


def _inventory(folder: Path, port: int, key: Ed25519PrivateKey) -> Path:
    secret = folder / "key"
    secret.touch(0o600)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    inventory = folder / "hosts"
    # The ramdisk makes a host key of its own at each start, so there is none that could be known.
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o LogLevel=ERROR"
    options += " -o ServerAliveInterval=10 -o ServerAliveCountMax=3"  # a machine without power closes no connection
    inventory.write_text(
        f"node ansible_host=127.0.0.1 ansible_port={port} ansible_user=root ansible_ssh_private_key_file={secret} "
        f"ansible_ssh_common_args='{options}'\n"
    )
    return inventory


def _variables(folder: Path, variables: Mapping[str, Any]) -> Path:
    file = folder / "variables.yml"
    file.touch(0o600)
    file.write_text(unsafe(variables))
    return file


def unsafe(value: Any) -> str:
    """A value as YAML in which every text is tagged as data. Ansible takes other text for templates and evaluates them
    on this machine, and tenants write some of it (the name of a Server, instance_info)."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"? {unsafe(str(key))} : {unsafe(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(unsafe, value)) + "]"
    if isinstance(value, str) and value:  # Ansible would take an empty one that is tagged for none
        return '!unsafe "' + _ODD.sub(lambda odd: f"\\U{ord(odd[0]):08x}", value) + '"'
    return json.dumps(value)


async def _play(argv: list[str], folder: Path, said: Any) -> list[str]:
    env = {
        "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "ANSIBLE_HOME": str(folder),
        "ANSIBLE_LOCAL_TEMP": str(folder),
        "ANSIBLE_STDOUT_CALLBACK": "hagane_lines", "ANSIBLE_CALLBACK_PLUGINS": str(PLAYBOOKS / "callback_plugins"),
        "ANSIBLE_RETRY_FILES_ENABLED": "0", "ANSIBLE_PIPELINING": "1", "ANSIBLE_TIMEOUT": "30", "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8", "ANSIBLE_DEPRECATION_WARNINGS": "0", "ANSIBLE_SSH_RETRIES": "2",
        # No connection is shared: the program that holds a shared one outlives the playbook.
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, start_new_session=True, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    words = asyncio.create_task(process.stderr.read(1 << 16))
    tasks: list[str] = []
    try:
        async with asyncio.timeout(SECONDS):
            async for line in process.stdout:
                _heard(line, tasks, said)
            status = await process.wait()
        if status:
            raise DeviceFailed(f"The playbook failed: {(await words).decode(errors='replace').strip()[-2000:]}")
        return tasks
    except TimeoutError as error:
        raise Unavailable(f"The playbook did not end within {SECONDS:g} s.") from error
    finally:
        words.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _heard(line: bytes, tasks: list[str], said: Any) -> None:
    """One event. Raises DeviceFailed or Unavailable for those that end a playbook."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    task = str(event.get("task", ""))
    words = str(event.get("stderr") or event.get("stdout") or event.get("msg") or "").strip()
    match event.get("event"):
        case "task":
            tasks.append(task)
            if said is not None:
                said(task)
        case "failed":
            raise DeviceFailed(f"The playbook's task {task!r} failed: {words}")
        case "unreachable":
            raise Unavailable(f"Ansible cannot reach the ramdisk by ssh: {words}")


@contextlib.asynccontextmanager
async def _relay(dial: Dial, host: str) -> AsyncIterator[int]:
    """A port on loopback whose connections end at the Node's ssh."""
    ends: list[asyncio.StreamWriter] = []
    pumps: set[asyncio.Task[Any]] = set()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        try:
            far_reader, far_writer = await dial(host, SSH_PORT)
        except OSError:
            writer.close()
            return
        ends.append(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pumps.add(asyncio.create_task(_pump(source, sink)))

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in ends:
            writer.close()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
