"""The provisioning service: on which networks it runs, what Nodes boot there, and how their agents are reached.

Every network that was asked for has a service Port of ours (`network:provisioning`); where this process has a local
switch, the Port is plugged in and listens (drivers/provision). Requests go to provision_answer.py.

    url(network) ─▶ service Port (made if there is none) ─▶ look ─▶ driver.apply ─▶ listening
"""

import asyncio
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from hagane.baremetal.node import NODE
from hagane.baremetal.node_secret import opened
from hagane.baremetal.provision import Dial, Fetched, NodeImage, OnFetch, Progress, Provision, Start, checksum_of
from hagane.baremetal.service_port import SERVICE_OWNER, STORAGE, device
from hagane.cloud import Cloud
from hagane.drivers.boot import loader
from hagane.drivers.boot.base import BootPlan, Ramdisk
from hagane.drivers.boot.iso import IsoParts
from hagane.drivers.boot.virtual_media import VirtualMedia
from hagane.drivers.metadata.base import Answer, Question, Reply
from hagane.drivers.metadata.plug import Switch
from hagane.drivers.provision import web
from hagane.drivers.provision.base import ProvisionDriver
from hagane.drivers.provision.netns import NetnsProvision
from hagane.drivers.provision.sim import SimProvision
from hagane.errors import HaganeError, Invalid, NotFound, Unavailable
from hagane.image import store
from hagane.network import port_make
from hagane.network.network import Network
from hagane.network.port_row import PORT
from hagane.reconcile import node_ansible, provision_boot, provision_url
from hagane.reconcile.devices import Devices
from hagane.reconcile.engine import Reconciler
from hagane.reconcile.look import Looker, bring
from hagane.reconcile.metadata import endpoints, prefix
from hagane.reconcile.provision_answer import BYTES, NOTHING, Answers, Guest, Sources, piece
from hagane.reconcile.provision_image import HASH, RawImages
from hagane.reconcile.provision_media import Media
from hagane.reconcile.provision_stream import Streams, Tokens
from hagane.state import work
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets

log = logging.getLogger(__name__)
KINDS = frozenset({"port", "network", "*"})
RAMDISKS = {"rescuing": ("rescue_kernel", "rescue_ramdisk")}  # role -> driver_info; the others use deploy_*
_WANTED = """SELECT n.id, p.id, p.mac_address, n.mtu, p.fixed_ips FROM network n
JOIN port p ON p.network_id = n.id AND p.device_id = 'prov-' || n.id AND p.device_owner = :owner ORDER BY n.id"""
_UNDER_WAY = "SELECT key FROM work WHERE kind = 'node'"


class ProvisionPart:
    """A part of the process (see app.py), and the Provision of the cloud. `problems`: networks without, and why."""

    reconcilers: Sequence[Reconciler] = ()

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._devices = cloud, cloud.use(Devices)
        self._secrets = cloud.use(Secrets)
        sources = Sources(self._plan, self._kernel, self._ramdisk, self._iso, self._image, self._fetched)
        self.answers = Answers(cloud, sources)
        self.driver: ProvisionDriver = _driver(self._devices, self.answers.answer)
        self.images, self._streams, self._tokens = RawImages(cloud), Streams(), Tokens(self._secrets)
        self.problems: dict[str, str] = {}
        self._asked: set[str] = set()
        self._served: set[str] = set()
        self._listeners: list[OnFetch] = []
        self._own: Ramdisk | None = None
        self._building = asyncio.Lock()
        self._warming: asyncio.Task[None] | None = None
        self._media = Media(cloud.config, self._cd, self._cd_ended, listens=bool(self._devices.local_switch))
        self._looker = Looker(cloud, "provision", KINDS, self._looked)
        cloud.provide(Provision, self)  # type: ignore[type-abstract]
        cloud.provide(ProvisionPart, self)

    async def start(self) -> None:
        await self.images.sweep()
        await self._media.sweep()
        where = {"boot_interface": "redfish-virtual-media"}
        self._media.expect(await NODE.select(self._cloud.db, where, columns=("id", "driver_info")))
        self._looker.start()

    async def stop(self) -> None:
        await self._looker.stop()
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._media.close()
        await self.driver.close()

    # -- where it runs -------------------------------------------------------------------------------------------

    async def _looked(self) -> bool:
        await self.look()
        return bool(self.problems)

    async def look(self) -> None:
        """Make the service Ports that were asked for, and serve at all of them."""
        for network_id in sorted(self._asked):
            await self._cloud.db.write(lambda tx, key=network_id: service_port(tx, key))  # type: ignore[misc]
            self._asked.discard(network_id)
        those = await endpoints(self._cloud.db, await self._cloud.db.fetch_tuples(_WANTED, {"owner": SERVICE_OWNER}))
        failed = await bring(self.driver.apply, those, self.problems, "provisioning")
        before, self._served = self._served, {one.network_id for one in those} - failed.keys()
        self.problems = failed
        if self._served - before:  # Nodes that asked too early must not wait for their next attempt
            await self._cloud.db.write(lambda tx: work.wake_all(tx, "node", _UNDER_WAY, {}))
        if self._served and self._own is None and self._devices.ramdisk is not None and self._warming is None:
            # Finding (or building) the ramdisk takes a while: it is there when the first Node asks for it.
            self._warming = asyncio.get_running_loop().create_task(self._warm(), name="ramdisk")

    async def url(self, reader: Reader, network_id: str) -> str:
        port = await PORT.get(reader, network_id=network_id, device_id=device(network_id), device_owner=SERVICE_OWNER)
        if port is None:
            self._asked.add(network_id)
        if port is None or network_id not in self._served:
            self._looker.soon()
            raise Unavailable(
                self.problems.get(network_id) or "The provisioning service of the network is being set up."
            )
        found = [fixed["ip_address"] for fixed in port["fixed_ips"] if ":" not in fixed["ip_address"]]
        if not found:
            raise Unavailable(f"Network {network_id} has no IPv4 subnet, which its provisioning service needs.")
        return f"http://{found[0]}"

    def dial(self, network_id: str) -> Dial:
        return self.driver.dial(network_id)

    # -- what Nodes boot -----------------------------------------------------------------------------------------

    def boot_plan(self, node: Row, *, network_id: str, base_url: str, role: str) -> Start:
        media = self._media.url(node, network_id, role) if node["boot_interface"] == VirtualMedia.name else ""
        made = provision_boot.plan(node, base=base_url, role=role, media=media, default=self._words(node))
        return provision_boot.start(node, made)

    def media(self, node: Row, network_id: str) -> str:
        """The CD by which a Node starts from its volume; "" where its boot interface needs none."""
        return self._media.url(node, network_id, STORAGE) if node["boot_interface"] == VirtualMedia.name else ""

    def _words(self, node: Row) -> str:
        """What every ramdisk's kernel is told, and what this Node's deploy interface adds."""
        return f"{self._cloud.config.kernel_append_params} {node_ansible.parameters(self._cloud, node)}".strip()

    async def _plan(self, who: Guest) -> BootPlan:
        base = await self.url(self._cloud.db, who.network_id)
        more = (await self._parts(who)).parameters
        return provision_boot.plan(who.node, base=base, role=who.role, default=self._words(who.node), always=more)

    async def _kernel(self, who: Guest) -> Path:
        return (await self._parts(who)).kernel

    async def _ramdisk(self, who: Guest) -> Path:
        return (await self._parts(who)).ramdisk

    async def _parts(self, who: Guest) -> Ramdisk:
        """What driver_info names, or our own ramdisk. Raises Invalid, NotFound, Unavailable."""
        info = who.node["driver_info"] or {}
        names = RAMDISKS.get(who.role, ())
        if not any(info.get(name) for name in names):
            names = ("deploy_kernel", "deploy_ramdisk")
        given = [str(info[name]) for name in names if info.get(name)]
        if len(given) == 1:
            raise Invalid(f"Node {who.node['id']} names only one of {' and '.join(names)}.")
        if given:
            return Ramdisk(await self._named(given[0]), await self._named(given[1]))
        return await self._ours()

    async def _ours(self) -> Ramdisk:
        """Our own ramdisk. Raises Unavailable, DeviceFailed."""
        if self._devices.ramdisk is None:
            raise Unavailable("This cloud has no ramdisk of its own: name images in deploy_kernel and deploy_ramdisk.")
        async with self._building:
            if self._own is None:
                self._own = await asyncio.to_thread(self._devices.ramdisk)
            return self._own

    async def _warm(self) -> None:
        try:
            await self._ours()
        except HaganeError as error:
            log.warning("our own ramdisk cannot be had: %s", error.message)

    async def _named(self, name: str) -> Path:
        """The file of a kernel or a ramdisk: an image, or a file of this machine. Raises Invalid, NotFound."""
        if name.startswith("file://"):
            return _allowed(name, self._cloud.config.file_url_allowed_paths)
        image = await store.base_image(self._cloud.db, self._cloud, name.removeprefix("glance://"))
        if image.status != "active":
            raise Invalid(f"Image {name} is {image.status}, not active.")
        return image.path

    async def _iso(self, who: Guest) -> Path:
        if who.role == STORAGE:
            return await self._media.build(IsoParts(loader.find("ipxe.lkrn"), None, "", loader.find("ipxe.efi")))
        parts = await self._parts(who)
        base = await self.url(self._cloud.db, who.network_id)
        parameters = provision_boot.parameters(who.node, base, who.role, self._words(who.node), parts.parameters)
        return await self._media.build(IsoParts(parts.kernel, parts.ramdisk, parameters))

    async def _cd(self, node_id: str, network_id: str, role: str) -> Path:
        """The CD that a BMC asks for."""
        node = await NODE.get(self._cloud.db, id=node_id)
        if node is None:
            raise NotFound(f"There is no node {node_id}.")
        self._fetched(node_id, Fetched.MEDIA, "begun")
        return await self._iso(Guest(node, role, network_id))

    def _cd_ended(self, node_id: str, *, whole: bool) -> None:
        if whole:
            self._fetched(node_id, Fetched.MEDIA, "done")

    # -- images --------------------------------------------------------------------------------------------------

    async def image(self, node: Row, *, base_url: str) -> NodeImage:
        info = opened(self._secrets, node)["instance_info"]
        source = str(info.get("image_source") or "").removeprefix("glance://")
        if not source:
            raise Invalid(f"Node {node['id']} has no image_source in its instance_info.")
        if web.is_url(source):
            found, size, algorithm, value = await self._outside(source, info)
        elif "://" in source:
            raise Invalid(f"image_source {source} is neither an image of the image service nor one at http or https.")
        else:
            raw = await self.images.ready(source, checksum_of(info))
            found, size, algorithm, value = source, raw.size, HASH, raw.sha512
        self._streams.forget(str(node["id"]))
        url = f"{base_url}/image/{self._tokens.make(str(node['id']), found)}"
        return NodeImage(web.name(source) or source, url, "raw", size, algorithm, value)

    async def _outside(self, url: str, info: Row) -> tuple[str, int, str, str]:
        """An image at a URL: what its token is to name, size and checksum of its bytes."""
        algorithm, value = await provision_url.checksum(info, url)
        remote = await provision_url.look(url)
        label = provision_url.form(remote, str(info.get("image_disk_format") or ""))
        if label == "raw":
            return url, remote.size, algorithm, value
        name, raw = await self.images.of_url(url, label, algorithm, value)
        return name, raw.size, HASH, raw.sha512

    async def _image(self, who: Guest, token: str, question: Question) -> Reply:
        node_id = str(who.node["id"])
        found = self._tokens.read(token, node_id)
        if web.is_url(found):
            return await self._relayed(node_id, found, token, question)
        raw = await self.images.find(found)

        def ended(whole: bool) -> None:
            # A range that ends before the image does leaves the rest to be asked for.
            if whole and made.piece is not None and made.piece.start + made.piece.length == raw.size:
                self._tokens.spend(token)
                self._fetched(node_id, Fetched.IMAGE, "done")

        sent = functools.partial(self._streams.add, node_id)
        made = piece(raw.path, question.headers.get("range", ""), ended, sent)
        if made.piece is not None and question.method == "GET":
            self._streams.begin(node_id, raw.size, made.piece.start)
            self._fetched(node_id, Fetched.IMAGE, "begun")
        return made

    async def _relayed(self, node_id: str, url: str, token: str, question: Question) -> Reply:
        """An image from outside, sent on as it comes: whole, whatever range was asked for (RFC 9110 allows it)."""
        if question.method != "GET":
            return NOTHING

        def ended(whole: bool) -> None:
            if whole:
                self._tokens.spend(token)
                self._fetched(node_id, Fetched.IMAGE, "done")

        sent = functools.partial(self._streams.add, node_id)
        failed = functools.partial(self._streams.fail, node_id)
        try:
            made = await asyncio.to_thread(provision_url.stream, url, sent, failed)
        except HaganeError as error:
            failed(error.message)
            raise
        self._streams.begin(node_id, made.length, 0)
        self._fetched(node_id, Fetched.IMAGE, "begun")
        return Reply(200, b"", {"content-type": BYTES}, ended=ended, stream=made)

    def progress(self, node_id: str) -> Progress | None:
        return self._streams.progress(node_id)

    # -- who wants to know ---------------------------------------------------------------------------------------

    def listen(self, heard: OnFetch) -> None:
        self._listeners.append(heard)

    def _fetched(self, node_id: str, what: Fetched, when: str) -> None:
        log.debug("node %s: %s %s", node_id, what, when)
        for heard in self._listeners:
            heard(node_id, what, when)


def _allowed(name: str, folders: Sequence[str]) -> Path:
    """A file of this machine in a folder that the operator allows. A Node's owner may write driver_info, and must not
    read what they like by it."""
    file = Path(name.removeprefix("file://")).resolve()
    if not any(file.is_relative_to(folder) for folder in folders):
        raise Invalid(f"{name} is in none of the folders of file_url_allowed_paths.")
    return file


def _driver(devices: Devices, answer: Answer) -> ProvisionDriver:
    if not devices.local_switch:
        return SimProvision(answer)
    return NetnsProvision(Switch(devices.local_switch, devices.local_namespace, prefix=prefix(devices)), answer)


async def service_port(tx: Tx, network_id: str) -> None:
    """The Port at which a network's service is, unless it is there or the network is gone."""
    network = await Network.table.get(tx, id=network_id)
    where = {"network_id": network_id, "device_id": device(network_id), "device_owner": SERVICE_OWNER}
    if network is None or await PORT.get(tx, **where) is not None:
        return
    await port_make.make(tx, network, project=network["project_id"], owner=SERVICE_OWNER, device=device(network_id),
                         groups=[], limited=False)  # fmt: skip
