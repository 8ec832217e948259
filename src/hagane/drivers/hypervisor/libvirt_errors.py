"""libvirt's errors in words that an operator can act on, sorted into "try again" and "this will not work".

libvirt's own codes are too coarse for that (a full disk, a missing bridge and a broken image are all "internal
error"), so what QEMU and the kernel said inside the message decides; the code decides the rest.
"""

import re

import libvirt

from hagane.errors import Conflict, DeviceFailed, HaganeError, Unavailable

# (what the message contains, kind of error, in words); the first that matches wins.
_CAUSES: list[tuple[str, type[HaganeError], str]] = [
    (r"No space left on device|Disk quota exceeded", DeviceFailed, "no space left on the Host's disk"),
    (r"(?s)No such file or directory.*Could not open backing image", Unavailable, "the base image left the Host"),
    (r"Could not open backing image|not in qcow2 format|Image is corrupt", DeviceFailed, "the disk image is corrupt"),
    (r"process exited while connecting to monitor\s*$", Unavailable, "QEMU ended while it started"),
    (r"Failed to terminate process", Unavailable, "QEMU does not end; it may wait for storage that hangs"),
    (r"No more available PCI", DeviceFailed, "the machine has no free slot for another device until its next start"),
    (r"annot allocate memory", DeviceFailed, "the Host has no memory left for this machine"),
    (r"Cannot access storage file|Could not open .* No such file", DeviceFailed,
     "a disk of the machine, or the image below it, is gone from the Host"),
    (r"virtlogd", Unavailable, "virtlogd does not run on the Host: start virtlogd.socket"),
    (r"OVS|ovs-vsctl|annot get interface MTU", Unavailable,
     "the Host's Open vSwitch has no working integration bridge"),
    (r"KVM kernel module|[Ff]ailed to initialize kvm|/dev/kvm", DeviceFailed,
     "the Host offers no KVM: load the module, or let the Host emulate (accel = \"tcg\")"),
    (r"Active console session exists", Conflict, "another viewer has the console open"),
    (r"iSCSI: Failed to connect|iSCSI.*timed out", Unavailable, "the volume's iSCSI target does not answer"),
    (r"iSCSI: ", DeviceFailed, "the volume's iSCSI target refuses the Host"),
    (r"(?s)error connecting.*(Permission denied|Operation not permitted)", DeviceFailed,
     "Ceph does not know the client by the key that the Host has"),
    (r"error connecting", Unavailable, "Ceph's monitors do not answer the Host"),
    (r"rbd.*No such file", DeviceFailed, "the pool of Ceph has no such volume"),
    (r"Failed to get .*lock", Unavailable, "the disk is in use on the Host"),
    (r"cannot acquire state change lock|active block job|asynchronous jobs running|is still in use", Unavailable,
     "the Host is busy with this machine"),
]  # fmt: skip

_LOST = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
}
# The world changed between reading and acting: reading again helps.
_CHANGED = {
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_NO_STORAGE_VOL,
    libvirt.VIR_ERR_NO_STORAGE_POOL,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_OPERATION_ABORTED,
    libvirt.VIR_ERR_DOM_EXIST,
}
_SOCKET = re.compile(
    r"socket|[Cc]onnection (reset|refused|timed out)|[Bb]roken pipe|keepalive|End of file while reading"
)


def translate(error: libvirt.libvirtError, host: str) -> HaganeError:
    """Our error for libvirt's."""
    text = str(error.get_error_message() or error)
    for pattern, kind, words in _CAUSES:
        if re.search(pattern, text):
            return kind(f"{host}: {words}", detail=text)
    code = error.get_error_code()
    if code in _LOST or (error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)):
        return lost(host, text)
    if code in (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_SYSTEM_ERROR) and _SOCKET.search(text):
        return lost(host, text)
    if code in _CHANGED:
        return Unavailable(f"{host}: the machine changed meanwhile", detail=text)
    first = text.splitlines()[0] if text else "unknown error"
    return DeviceFailed(f"{host}: {first}", detail=text)


def lost(host: str, detail: str) -> Unavailable:
    """The Host is away, or not there yet."""
    return Unavailable(f"{host}: libvirt does not answer", detail=detail)


def is_code(error: libvirt.libvirtError, *codes: int) -> bool:
    return error.get_error_code() in codes
