"""The ramdisk that runs on a Node while it is written, cleaned, inspected or rescued: its commands, one at a time.

The protocol is the ironic-python-agent's (https://docs.openstack.org/ironic-python-agent): the ramdisk announces itself
by lookup and heartbeat (baremetal/agent.py); then commands are sent to it and their results fetched.

    start(command) ──▶ RUNNING ──▶ SUCCEEDED | FAILED (error in words) | CLEAN_VERSION_MISMATCH

Errors: `Unavailable` (no answer; the ramdisk may be busy or gone) and `DeviceFailed` (it refuses: unknown command,
wrong token, busy with another), each with a cause in words. Neither ever holds a token.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a connection to an address and port in the network that the ramdisk is on. Raises OSError."""


class CommandState(StrEnum):
    """`command_status` on the wire."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    MISMATCH = "CLEAN_VERSION_MISMATCH"  # the ramdisk was restarted with another version between two steps


@dataclass(frozen=True, slots=True)
class Command:
    """One command as the ramdisk shows it. `name` is "standby.prepare_image" and the like."""

    id: str
    name: str
    state: CommandState
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""  # in words, when it failed


class Agent(Protocol):
    """One ramdisk. Instances are cheap; each call is one exchange."""

    async def commands(self) -> list[Command]:
        """All commands since the ramdisk started, oldest first: after a restart of ours it tells what was begun."""
        ...

    async def start(self, name: str, params: Mapping[str, Any]) -> Command:
        """Begin a command ("clean.execute_clean_step") and return at once. One at a time: raises DeviceFailed with
        `code` "AgentBusy" when another runs."""
        ...

    async def result(self, command_id: str) -> Command:
        """A command as it is now."""
        ...

    async def call(self, name: str, params: Mapping[str, Any]) -> Command:
        """A short command, and wait for its end ("clean.get_clean_steps", "standby.sync")."""
        ...
