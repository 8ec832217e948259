"""Logs: one line an event, with the id of the request that caused it, whoever writes the line."""

import json
import logging

import pytest

from hagane import logs
from hagane.api.http import request_id


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("hagane.reconcile.server", logging.WARNING, "x.py", 1, message, arguments, None)


@pytest.mark.parametrize("formatter", [logs.Text(), logs.Json()])
def test_a_line_tells_whose_request_it_is(formatter: logging.Formatter) -> None:
    held = request_id.set("req-1")
    try:
        assert "req-1" in formatter.format(record("tried %s", "again"))
    finally:
        request_id.reset(held)


def test_what_others_chose_begins_no_line() -> None:
    text = logs.Text().format(record("server %s failed", "a\n12:00:00 ERROR   identity  all is lost\x1b[2J"))
    assert text.endswith("server a\\n12:00:00 ERROR   identity  all is lost\\x1b[2J failed")
    assert json.loads(logs.Json().format(record("%s", "a\nb")))["message"] == "a\nb"
