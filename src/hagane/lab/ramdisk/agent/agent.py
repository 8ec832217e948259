"""One ramdisk's life: find out who it is, say that it is there, take commands.

    (inspect) ─▶ lookup ──▶ heartbeat every now and then, and at once when a command has ended
                   │  └──▶ commands on port 9999, each with the token that lookup gave
                   └ again every few seconds until someone knows this machine

Whoever does not have the token learns nothing and does nothing. A machine whose token was given out before (it stars it
out: "******") had another ramdisk running; this one cannot prove itself and says so on its console.
"""

import hmac
import random
import socket
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .commands import Commands
from .errors import AgentError, InvalidCommandParamsError, Unauthorized
from .facts import inspection, machine_uuid, nics
from .lldp import Listener
from .place import Place
from .verbs import Verbs
from .wire import Request, Server, WireError, call, fault

VERSION = "11.0.0"  # of the original whose protocol this is; services choose by it what they send
API = {"X-OpenStack-Ironic-API-Version": "1.68"}
RETRY = (1.0, 3.0)  # seconds between attempts, at random, so that a rack full of machines does not ask in step
LLDP_SECONDS = 40.0  # most switches announce themselves every 30


class Agent:
    def __init__(self, place: Place, *, port: int = 9999) -> None:
        self.place = place
        self.base = place.setting("ipa-api-url").rstrip("/")
        self.config: dict[str, Any] = {}
        self.node: dict[str, Any] = {}
        self.token = place.setting("ipa-agent-token")
        self.beat = threading.Event()
        self.over = threading.Event()
        verbs = Verbs(place, lambda: self.config, self.over.set)
        self.verbs = verbs
        self.commands = Commands(verbs.all(), self.beat.set)
        self.server = Server(port, self.answer)
        self.started = time.time()

    def run(self) -> None:
        uuid = self.inspect() if self.place.setting("ipa-inspection-callback-url") else None
        if not self.base:
            print("agent: no ipa-api-url on the kernel command line: nothing more to do", flush=True)
            return
        self.lookup(uuid)
        self.server.start()
        threading.Thread(target=self._heartbeats, daemon=True).start()
        self.over.wait()
        time.sleep(1)  # the answer to the last command is still on its way
        self.server.stop()
        print("agent: ended; no more commands are taken", flush=True)

    # -- what it says ------------------------------------------------------------------------------------------

    def inspect(self) -> str | None:
        """Post what is here to the inspection callback. Returns the Node's UUID if the service tells it."""
        heard: dict[str, list[tuple[int, str]]] = {}
        if self.place.flag("ipa-collect-lldp") and self.place.real:
            found = nics(self.place)
            names = [nic["name"] for nic in found if nic["has_carrier"]]
            seconds = float(self.place.setting("ipa-lldp-timeout", str(LLDP_SECONDS)))
            heard = Listener([nic["name"] for nic in found]).wait(names, seconds)
        data = inspection(self.place, heard)
        url = self.place.setting("ipa-inspection-callback-url").split(",")[0]
        for _ in range(20):
            try:
                status, answer = call("POST", url, data)
            except WireError as error:
                print(f"agent: inspection: {error}", flush=True)
            else:
                if status < 400:
                    return answer.get("uuid") if isinstance(answer, dict) else None
                print(f"agent: inspection: status {status}: {answer}", flush=True)
                if status < 500 and status != 409:
                    return None
            time.sleep(random.uniform(*RETRY))
        return None

    def lookup(self, uuid: str | None) -> None:
        """Ask until someone knows this machine."""
        words = {"addresses": ",".join(nic["mac_address"] for nic in nics(self.place) if nic["mac_address"])}
        uuid = uuid or self.place.setting("ipa-node-uuid") or None
        if uuid:
            words["node_uuid"] = uuid
        while True:
            try:
                status, answer = call("GET", f"{self.base}/v1/lookup?{urlencode(words, safe=':,')}", headers=API)
                if status == 200 and isinstance(answer, dict) and self._known(answer):
                    return
                print(f"agent: lookup of {words['addresses']}: status {status}", flush=True)
            except WireError as error:
                print(f"agent: lookup: {error}", flush=True)
            time.sleep(random.uniform(*RETRY))

    def _known(self, answer: dict[str, Any]) -> bool:
        self.node, self.config = answer["node"], answer.get("config") or {}
        token = self.config.get("agent_token") or ""
        if token and set(token) != {"*"}:
            self.token = token
        if not self.token and self.config.get("agent_token_required"):
            print("agent: the token was given out before; the service must start this machine anew", flush=True)
            return False
        self.verbs.node = self.node
        print(f"agent: this is node {self.node['uuid']} ({machine_uuid(self.place) or 'no DMI'})", flush=True)
        return True

    def _heartbeats(self) -> None:
        url = f"{self.base}/v1/heartbeat/{quote(self.node['uuid'])}"
        while not self.over.is_set():
            self.beat.clear()
            wait = random.uniform(*RETRY)
            try:
                body = {"callback_url": self.callback(), "agent_token": self.token, "agent_version": VERSION}
                status, answer = call("POST", url, body, headers=API)
                if status in (200, 202):
                    wait = float(self.config.get("heartbeat_timeout") or 300) * random.uniform(0.3, 0.6)
                else:
                    print(f"agent: heartbeat: status {status}: {answer}", flush=True)
            except (WireError, OSError) as error:  # also without a network, which may come back
                print(f"agent: heartbeat: {error}", flush=True)
            self.beat.wait(wait)

    def callback(self) -> str:
        """Where this machine is reached: at the address from which it reaches the service."""
        parts = urlsplit(self.base)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((parts.hostname or "127.0.0.1", parts.port or 80))
            return f"http://{probe.getsockname()[0]}:{self.server.port}"

    # -- what it is told ---------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[int, Any]:
        try:
            return 200, self._answer(request)
        except AgentError as error:
            return error.code, fault(error.code, str(error))
        except LookupError:
            return 404, fault(404, "404 Not Found: The requested URL was not found on the server.")

    def _answer(self, request: Request) -> Any:
        words = request.path.strip("/").split("/")
        words = words[1:] if words[:1] == ["v1"] else words
        match request.method, words:
            case "GET", ["status"]:
                return {"started_at": self.started, "version": VERSION}
            case "GET", ["commands"]:
                self._prove(request)
                return {"commands": [command.shown() for command in self.commands.all.values()]}
            case "GET", ["commands", key]:
                self._prove(request)
                return self._awaited(request, self.commands.get(key)).shown()
            case "POST", ["commands"]:
                self._prove(request)
                body = request.body
                if not isinstance(body, dict) or "name" not in body or not isinstance(body.get("params"), dict):
                    raise InvalidCommandParamsError("Missing or invalid name or params")
                return self._awaited(request, self.commands.start(str(body["name"]), body["params"])).shown()
        raise LookupError(request.path)

    def _awaited(self, request: Request, command: Any) -> Any:
        if request.query.get("wait", "").lower() == "true" and command.thread is not None:
            command.thread.join()
        return command

    def _prove(self, request: Request) -> None:
        given = request.query.get("agent_token", "")
        if not self.token or not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Unauthorized("Token invalid.")
