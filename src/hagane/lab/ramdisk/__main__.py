"""Build, and copy kernel and ramdisk to where the command line says."""

import argparse
import shutil
from pathlib import Path

from hagane.lab.ramdisk import stock
from hagane.lab.ramdisk.build import CACHE, KERNELS, build


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the deploy ramdisk.")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--variant", default="virtual", choices=sorted(KERNELS))
    parser.add_argument("--stock", action="store_true", help="with the original ironic-python-agent")
    parser.add_argument("--cache", type=Path, default=CACHE)
    given = parser.parse_args()
    made = (stock.build if given.stock else build)(variant=given.variant, cache=given.cache)
    given.out.mkdir(parents=True, exist_ok=True)
    shutil.copy(made.kernel, given.out / "kernel")
    shutil.copy(made.ramdisk, given.out / "ramdisk")


main()
