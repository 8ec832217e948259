"""Commands, one at a time: each is begun, watched and kept until the machine goes down.

    start ──▶ RUNNING ──▶ SUCCEEDED | FAILED (command_error) | CLEAN_VERSION_MISMATCH

A short command ("sync") is at its end when `start` returns; a long one ("prepare_image") has a thread. While a long one
runs, its result may already say how far it is: {"progress": {"done": bytes, "total": bytes, "percent": 0..100, ...}}.
The original agent gives None until the end; a caller that knows nothing of progress loses nothing.
"""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import (
    AgentError,
    AgentIsBusy,
    CommandExecutionError,
    InvalidCommandError,
    InvalidCommandParamsError,
    InvalidContentError,
    RequestedObjectNotFoundError,
    VersionMismatch,
)


@dataclass
class Command:
    id: str
    name: str
    status: str = "RUNNING"
    result: Any = None
    error: dict[str, Any] | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, "command_name": self.name, "command_status": self.status,
                "command_error": self.error, "command_result": self.result}  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """What a command does. A long one gets its Command first, to report progress; `check` looks at the parameters."""

    act: Callable[..., Any]
    long: bool = False
    check: Callable[[dict[str, Any]], None] | None = None


class Commands:
    def __init__(self, verbs: dict[str, Verb], ended: Callable[[], None]) -> None:
        self.verbs, self.ended = verbs, ended
        self.all: dict[str, Command] = {}
        self.lock = threading.Lock()

    def get(self, key: str) -> Command:
        if key not in self.all:
            raise RequestedObjectNotFoundError(f"Command with id {key} not found.")
        return self.all[key]

    def start(self, name: str, params: dict[str, Any]) -> Command:
        """Begin a command. Raises what the caller did wrong; what goes wrong later is in the Command."""
        with self.lock:
            extension, _, short = name.partition(".")
            if not short:
                raise InvalidCommandError("Command name must be of the form <extension>.<name>")
            last = next(reversed(self.all.values()), None)
            if last is not None and last.status == "RUNNING":
                raise AgentIsBusy(f"executing command {last.name}")
            if not any(known.startswith(f"{extension}.") for known in self.verbs):
                raise RequestedObjectNotFoundError(f"Extension with id {extension} not found.")
            if name not in self.verbs:
                raise InvalidCommandError(f"Unknown command: {short}")
            return self._begin(self.verbs[name], name, short, params)

    def _begin(self, verb: Verb, name: str, short: str, params: dict[str, Any]) -> Command:
        command = Command(Path("/proc/sys/kernel/random/uuid").read_text().strip(), short)
        print(f"agent: {name}", flush=True)
        if verb.check is not None:
            verb.check(params)
        if verb.long:
            command.thread = threading.Thread(target=self._run_long, args=(verb, command, params), daemon=True)
            self.all[command.id] = command
            command.thread.start()
        else:
            self._run_short(verb, command, params)
            self.all[command.id] = command
        return command

    def _run_short(self, verb: Verb, command: Command, params: dict[str, Any]) -> None:
        try:
            result = verb.act(**params)
        except InvalidContentError:
            raise
        except Exception as error:
            _fail(command, error)
        else:
            command.result = {"result": result} if isinstance(result, str) else result
            command.status = "SUCCEEDED"

    def _run_long(self, verb: Verb, command: Command, params: dict[str, Any]) -> None:
        try:
            result = verb.act(command, **params)
            command.result = {"result": f"{command.name}: {result}"} if isinstance(result, str) else result
            command.status = "SUCCEEDED"
        except Exception as error:
            _fail(command, error)
        print(f"agent: {command.name} {command.status} {command.error or ''}", flush=True)
        self.ended()


def _fail(command: Command, error: Exception) -> None:
    """Foreseen errors speak for themselves; of all others the log gets to see where they came from."""
    if isinstance(error, TypeError) and "argument" in str(error):
        error = InvalidCommandParamsError(str(error))
    if not isinstance(error, AgentError):
        traceback.print_exception(error)
        error = CommandExecutionError(f"{type(error).__name__}: {error}")
    command.result, command.error = None, error.shown()
    command.status = "CLEAN_VERSION_MISMATCH" if isinstance(error, VersionMismatch) else "FAILED"
