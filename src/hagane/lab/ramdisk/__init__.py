"""Build the deploy ramdisk: a kernel, busybox, dropbear, and the agent on a Python of a few dozen modules.

    python -m hagane.lab.ramdisk OUT [--variant metal]

Two variants, the same but for their kernel and drivers: "virtual" for QEMU and clouds (Debian's cloud kernel), "metal"
for what stands in racks. Everything comes from Debian packages, which are unpacked and never installed; nothing is
mounted and no root is needed. Results are kept in a cache under a key made of everything that goes into them.
"""

from hagane.lab.ramdisk.build import Ramdisk, build

__all__ = ["Ramdisk", "build"]
