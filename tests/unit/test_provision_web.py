"""Files of web servers: one that drips is not waited for without an end."""

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hagane.drivers.provision import web
from hagane.errors import Invalid

LENGTH = 1 << 20


class _Dripping(BaseHTTPRequestHandler):
    left = threading.Event()  # set at the end: nobody listens any more

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(LENGTH))
        self.end_headers()
        while not self.left.wait(0.02):
            self.wfile.write(b"x")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the output is the tests'."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who has seen enough goes away."""


@pytest.fixture
def url() -> Iterator[str]:
    _Dripping.left.clear()
    server = _Server(("127.0.0.1", 0), _Dripping)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/disk.raw"
    _Dripping.left.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("ask", [lambda url: web.fetch(url, io.BytesIO()), web.look, web.text],
                         ids=["fetch", "look", "text"])  # fmt: skip
def test_a_server_that_drips_is_given_up(url: str, ask: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WHOLE", "BEGINNING"):
        monkeypatch.setattr(web, name, 0.2, raising=False)
    said: list[str] = []

    def run() -> None:
        with pytest.raises(Invalid) as refused:
            ask(url)
        said.append(refused.value.message)

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(10)
    assert said == [f"Validation of image href {url} failed, reason: Its server sends too slowly."]
