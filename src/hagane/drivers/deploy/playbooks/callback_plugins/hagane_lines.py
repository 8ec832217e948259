"""Tells what a playbook does as one line of JSON for each event, for a program to read. Runs inside Ansible."""

import json
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: hagane_lines
type: stdout
short_description: one line of JSON for each event
description: For drivers/deploy/ansible.py.
"""
SHOWN = ("msg", "stderr", "stdout", "rc")


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "hagane_lines"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._say("task", task.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._say("ok", result.task_name)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._say("ignored" if ignore_errors else "failed", result.task_name, result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._say("unreachable", result.task_name, result)

    def _say(self, event: str, task: str, result: Any = None) -> None:
        found = getattr(result, "result", None) or getattr(result, "_result", None) or {}
        words = {key: str(found[key])[-2000:] for key in SHOWN if found.get(key)}
        sys.stdout.write(json.dumps({"event": event, "task": task, **words}) + "\n")
        sys.stdout.flush()
