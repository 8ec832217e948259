"""One Host's connection: libvirt's remote protocol, kept open, its blocking calls in a few threads.

    closed ──connect──▶ trying ──opened──▶ up ──lost (keepalive, close, error)──▶ trying (0.5 s ... 15 s apart) ...

libvirt-python blocks, so every call goes to a small pool of the Host's own: five threads, as libvirtd takes five
requests of one client at a time, and a Host that hangs starves no other. Events of all Hosts arrive on one thread
that runs libvirt's own event loop: it belongs to no asyncio loop (the glue of libvirt-python allows only one in a
process's life), and it is what answers keepalive while we wait for a slow call.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import libvirt

from hagane.drivers.hypervisor.libvirt_errors import lost, translate
from hagane.errors import HaganeError, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

KEEPALIVE = (5, 3)  # seconds between questions, questions without answer: a dead Host is noticed after 15 to 20 s
OPEN_SECONDS = 20.0
CALL_SECONDS = 120.0
DRAIN_SECONDS = 150.0  # for calls of a broken connection to return
FIRST_DELAY, LAST_DELAY = 0.5, 15.0

_events: threading.Thread | None = None
_events_lock = threading.Lock()


def _run_events() -> None:
    while True:
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.virEventRunDefaultImpl()


def start_events() -> None:
    """Start the event thread; it must run before the first connection is opened. It ends with the process."""
    global _events
    with _events_lock:
        if _events is None:
            libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else each error goes to stderr, too
            libvirt.virEventRegisterDefaultImpl()
            _events = threading.Thread(target=_run_events, name="libvirt-events", daemon=True)
            _events.start()


class Users:
    """Who is inside a call of a connection. libvirt frees a connection that is closed, also under the feet of a call
    that has not returned yet, and the process dies of it; so it is closed only when nobody is inside any more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: Counter[int] = Counter()
        self._shut: set[int] = set()

    def admit(self, connection: Any) -> None:
        """A new connection, which may sit where an old one was."""
        with self._changed:
            self._shut.discard(id(connection))

    def call(self, function: Callable[..., T], connection: Any, *args: Any) -> T:
        """`function(connection, *args)`, unless the connection is about to be closed. Raises Unavailable."""
        with self._changed:
            if id(connection) in self._shut:
                raise Unavailable("the connection to libvirt broke")
            self._inside[id(connection)] += 1
        try:
            return function(connection, *args)
        finally:
            with self._changed:
                self._inside[id(connection)] -= 1
                self._changed.notify_all()

    def drained(self, connection: Any) -> bool:
        """Let nobody in any more, and wait until all are out; False when some stay for good: then never close it."""
        with self._changed:
            self._shut.add(id(connection))
            out = self._changed.wait_for(lambda: not self._inside[id(connection)], DRAIN_SECONDS)
        if not out:
            _kept.append(connection)
        return out


_kept: list[Any] = []  # connections with somebody inside for good: they must not be freed


class Link:
    """The connection to one libvirtd. `prepare(connection)` runs in a thread each time it has been opened."""

    def __init__(self, uri: str, prepare: Callable[[Any], None], host: str) -> None:
        self.uri = uri
        self.host = host
        self.connection: Any = None
        self.on_change: Callable[[], None] = lambda: None  # came or went
        self.on_event: Callable[[str], None] = lambda _domain_name: None
        self._prepare = prepare
        self._why: HaganeError = Unavailable(f"{host}: not connected yet")
        self._threads = ThreadPoolExecutor(5, thread_name_prefix=f"libvirt-{host}")
        self._bulk = ThreadPoolExecutor(4, thread_name_prefix=f"libvirt-bulk-{host}")
        self._users = Users()
        self._abandoned: set[Future[Any]] = set()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def open(self) -> None:
        """Return after the first attempt, whether it worked or not."""
        start_events()
        if self._keeper is None:
            self._loop = asyncio.get_running_loop()
            self._keeper = asyncio.create_task(self._keep(), name=f"libvirt {self.host}")
        tried = asyncio.create_task(self._tried.wait())
        await asyncio.wait({tried, self._keeper}, return_when=asyncio.FIRST_COMPLETED)
        tried.cancel()
        if self._keeper.done():  # it only ends by an error in ourselves
            self._keeper.result()

    async def close(self) -> None:
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        connection, self.connection = self.connection, None
        self._why = Unavailable(f"{self.host}: closed")
        if connection and await self._in_daemon(self._users.drained, connection):
            await asyncio.to_thread(_shut, connection)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._bulk.shutdown(wait=False, cancel_futures=True)

    async def run(
        self, function: Callable[..., T], *args: Any, bulk: bool = False, seconds: float | None = CALL_SECONDS
    ) -> T:
        """`function(connection, *args)` in a thread, libvirt's errors translated; `bulk`: it moves many bytes."""
        connection = self.connection
        if connection is None:
            raise self._why
        if self._abandoned:
            raise Unavailable(f"{self.host}: libvirt has not answered an earlier call yet")
        pool = self._bulk if bulk else self._threads
        work = pool.submit(self._users.call, function, connection, *args)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(work)
        except libvirt.libvirtError as error:
            if self.connection is not connection or not _alive(connection):
                if self.connection is connection:
                    self._lost.set()
                raise lost(self.host, str(error)) from error
            raise translate(error, self.host) from error
        except TimeoutError as error:
            raise Unavailable(f"{self.host}: libvirt did not answer in {seconds:.0f} s") from error
        finally:
            self._abandon(work)

    def share(self, function: Callable[[Any], T]) -> T:
        """`function(connection)` in the caller's own thread, which is inside a call of another Host's connection.
        Raises Unavailable."""
        connection = self.connection
        if connection is None:
            raise self._why
        return self._users.call(function, connection)

    def _abandon(self, work: Future[Any]) -> None:
        """Nobody waits for this call any more. While its thread does, no other call is begun: a Host that hangs would
        swallow all threads, and libvirt's client does not survive the end of a connection with many calls inside."""
        if not work.done():
            self._abandoned.add(work)
            work.add_done_callback(lambda done: self._tell(self._abandoned.discard, done))

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    opened = await self._in_daemon(self._open)
            except (libvirt.libvirtError, TimeoutError, HaganeError) as error:
                self._why = self._reason(error)
                log.warning("%s, next try in %.1f s: %s", self._why, delay, self._why.detail)
                self._tried.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_DELAY)
                continue
            self._users.admit(opened)
            self.connection = opened
            delay = FIRST_DELAY
            self._tried.set()
            self.on_change()
            await self._lost.wait()
            self._lost.clear()
            connection, self.connection = self.connection, None
            self._why = lost(self.host, "the connection broke")
            log.warning("%s: lost the connection to libvirt", self.host)
            self.on_change()
            self._loop.create_task(self._leave(connection), name=f"libvirt {self.host} leaves")

    async def _leave(self, connection: Any) -> None:
        """Close a broken connection when its last call has returned; a new one need not wait for that."""
        if await self._in_daemon(self._users.drained, connection):
            await self._in_daemon(_shut, connection)

    def _reason(self, error: Exception) -> HaganeError:
        if isinstance(error, HaganeError):
            return Unavailable(f"{self.host}: {error.message}", detail=error.detail)
        return lost(self.host, str(error) or f"no answer in {OPEN_SECONDS:.0f} s")

    def _open(self) -> Any:
        connection = libvirt.open(self.uri)
        try:
            connection.setKeepAlive(*KEEPALIVE)
            connection.registerCloseCallback(self._closed, None)
            for kind, callback in (
                (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
                (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._lifecycle),
                (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._lifecycle),
                (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._lifecycle),
            ):
                connection.domainEventRegisterAny(None, kind, callback, None)
            self._prepare(connection)
        except BaseException:
            _shut(connection)
            raise
        return connection

    def _lifecycle(self, _connection: Any, domain: Any, *_rest: Any) -> None:
        self._tell(self.on_event, domain.name())

    def _closed(self, _connection: Any, _reason: int, _opaque: Any) -> None:
        self._tell(self._lost.set)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        """From the event thread into the loop, which may be gone by now."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    async def _in_daemon(self, function: Callable[..., T], *args: Any) -> T:
        """In a thread that the interpreter does not wait for at its end: opening may hang for ever."""
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                if result is not None:  # a connection that came after we had given up on it
                    threading.Thread(target=_shut, args=(result,), daemon=True).start()
            elif error:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            try:
                result = function(*args)
            except BaseException as error:
                self._tell(settle, None, error)
            else:
                self._tell(settle, result, None)

        threading.Thread(target=work, name=f"libvirt-open-{self.host}", daemon=True).start()
        return await future


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _shut(connection: Any) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        connection.unregisterCloseCallback()
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()
