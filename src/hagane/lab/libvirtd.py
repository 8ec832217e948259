"""A libvirtd and a virtlogd of one Host, with folders, socket and host name of their own.

They run in the Host's network namespace and see the Host's folders at libvirt's usual places (enclose.py). Machines are
children of nobody: QEMU daemonises, so it outlives libvirtd, which finds it again by the files under /run/libvirt.
Machines run as the unprivileged user that the distribution's libvirt knows. No cgroups are used: inside containers, or
without cgroup v2, they could not be made, and one behaviour everywhere is worth more here than CPU shares. For the same
reason the system bus is hidden: libvirt would register machines of several Hosts at one systemd-machined. Where KVM
does not really work, /dev/kvm is hidden as well, so that libvirt's capabilities tell the truth.

Consoles are logged through virtlogd, as on any Host, because it bounds what a machine can write. The price: machines
that run while virtlogd is killed (not restarted by its own signal) log no more until their next start.
"""

import asyncio
import grp
import pwd
import struct
import sys
import uuid
from pathlib import Path

from hagane.errors import DeviceFailed, Unavailable
from hagane.lab.netns import inside
from hagane.lab.process import Daemon, run, start, tail
from hagane.lab.site import Folder

USER, USER_ID = "libvirt-qemu", "64055"  # compiled into libvirt; the number is Debian's
POOL = Path("/var/lib/libvirt/images")
_QEMU_CONF = f"""\
user = "{USER}"
group = "{USER}"
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "logd"
remember_owner = 0
max_core = 0
"""
_LIBVIRTD_CONF = """\
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
unix_sock_admin_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
max_clients = 200
max_workers = 20
host_uuid = "{uuid}"
"""
_VIRTLOGD_CONF = "max_size = 4194304\nmax_backups = 1\n"
READY_SECONDS = 30.0
# libvirt's RPC (remote_protocol.x): length, program, version, procedure AUTH_LIST, type call, serial, status.
_AUTH_LIST = struct.pack("!7I", 28, 0x20008086, 1, 66, 0, 0, 0)
# Names of our folders, and where libvirt expects them.
_STATE = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "log": "/var/log/libvirt", "cache": "/var/cache/libvirt"}


def socket(folder: Folder) -> Path:
    """The socket on which the Host's libvirt answers."""
    return folder.run / "libvirt" / "libvirt-sock"


def pool(folder: Folder) -> Path:
    """The Host's folder for disks, as seen from outside; the Host itself sees it as POOL."""
    return folder.state / "libvirt" / "lib" / "images"


def daemons(host: str, space: str, folder: Folder, *, kvm: bool) -> tuple[Daemon, Daemon]:
    """virtlogd and libvirtd."""
    wrap = _enclosed(host, folder, kvm=kvm)
    made = []
    for program in ("virtlogd", "libvirtd"):
        pid_file = folder.run / f"{program}.pid"
        argv = inside(space, *wrap, program, "--daemon", "--pid-file", str(pid_file))
        # libvirt plugs taps with ovs-vsctl, which finds the Host's switch by this variable.
        env = (("OVS_RUNDIR", str(folder.run / "ovs")),)
        log = folder.state / "libvirt" / "log" / f"{program}.log"
        made.append(Daemon(f"{host}/{program}", program, argv, pid_file, log, env))
    return made[0], made[1]


def _enclosed(host: str, folder: Folder, *, kvm: bool) -> tuple[str, ...]:
    mounts = [(str(folder.state / "libvirt" / name), target) for name, target in _STATE.items()]
    mounts.append((str(folder.run / "libvirt"), "/run/libvirt"))
    mounts.append((str(folder.run / "hosts"), "/etc/hosts"))
    if Path("/run/dbus").is_dir():
        mounts.append((str(folder.run / "nobus"), "/run/dbus"))
    if not kvm and Path("/dev/kvm").exists():
        # Something that cannot be opened: what could be (/dev/null) makes libvirt probe QEMU anew at every definition.
        mounts.append((str(folder.run / "nokvm"), "/dev/kvm"))
    flat = (part for mount in mounts for part in mount)
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name("enclose.py")), host, *flat, "--")


async def up(host: str, space: str, folder: Folder, *, kvm: bool) -> None:
    """Folders, configuration and both daemons, whatever of them is missing."""
    _folders(folder)
    etc = folder.state / "libvirt" / "etc"
    host_uuid = uuid.uuid5(uuid.NAMESPACE_OID, str(folder.state))
    (etc / "qemu.conf").write_text(_QEMU_CONF)
    (etc / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(uuid=host_uuid))
    (etc / "virtlogd.conf").write_text(_VIRTLOGD_CONF)
    # libvirtd looks its own name up; without an answer here it would ask a name server that the namespace cannot reach.
    (folder.run / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {host}\n")
    virtlogd, libvirtd = daemons(host, space, folder, kvm=kvm)
    await start(virtlogd)
    await start(libvirtd)
    await _ready(libvirtd, socket(folder))


async def _ready(daemon: Daemon, path: Path) -> None:
    """Wait for the first answer: libvirtd goes to the background before its drivers are up, and ends if one fails."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(_AUTH_LIST)
                await reader.readexactly(4)
            finally:
                writer.close()
    except TimeoutError as error:
        raise Unavailable(f"{daemon.name} did not answer within {READY_SECONDS:g} s; see {daemon.log}.") from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise DeviceFailed(f"{daemon.name} ended while it started: {tail(daemon.log)}") from error


def _folders(folder: Folder) -> None:
    for name in _STATE:
        (folder.state / "libvirt" / name).mkdir(parents=True, exist_ok=True)
    pool(folder).mkdir(exist_ok=True, mode=0o711)
    # libvirt makes this one only after it has opened the first machine's console log in it.
    (folder.state / "libvirt" / "log" / "qemu").mkdir(exist_ok=True)
    for name in ("libvirt", "nobus"):
        (folder.run / name).mkdir(parents=True, exist_ok=True)
    (folder.run / "nokvm").touch(mode=0)


async def ensure_user(*, kvm: bool) -> None:
    """The unprivileged user of the machines; Debian's libvirt-daemon-system would make the same one."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        await run("groupadd", "--system", "--gid", USER_ID, USER)
        identity = ("--uid", USER_ID, "--gid", USER, "--home-dir", "/var/lib/libvirt", "--no-create-home")
        await run("useradd", "--system", *identity, "--shell", "/usr/sbin/nologin", USER)
    if kvm and "kvm" in {g.gr_name for g in grp.getgrall()} and USER not in grp.getgrnam("kvm").gr_mem:
        await run("usermod", "--append", "--groups", "kvm", USER)
