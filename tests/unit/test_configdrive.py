"""The config drive: what a Linux guest (Rock Ridge) and a Windows guest (Joliet) find on it."""

import io
import time

import pycdlib
import pytest

from hagane.drivers.configdrive import LABEL, build

FILES = {
    "openstack/latest/meta_data.json": b'{"uuid": "x"}',
    "openstack/latest/user_data": b"#!/bin/sh\necho \xff\n" * 500,
    "openstack/content/0000": b"",
    "ec2/latest/meta-data.json": b"{}",
    "a-rather-long-file-name-with.many.dots-and-UPPER-case.txt": b"1",
    "openstack/latest/Ümlaut": b"2",
}


@pytest.mark.parametrize("names", ["rr_path", "joliet_path"])
def test_every_file_is_there_under_its_own_name(names: str) -> None:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(build(FILES)))
    for name, content in FILES.items():
        found = io.BytesIO()
        iso.get_file_from_iso_fp(found, **{names: f"/{name}"})
        assert found.getvalue() == content
    iso.close()


def test_the_label_is_where_guests_look_for_it() -> None:
    image = build(FILES)
    # ECMA-119, 8.4: the primary volume descriptor is sector 16, its volume identifier 32 bytes at 40.
    assert image[16 * 2048 + 1 : 16 * 2048 + 6] == b"CD001"
    assert image[16 * 2048 + 40 : 16 * 2048 + 72].rstrip() == LABEL.encode()
    assert len(image) % 2048 == 0


def test_it_is_quick() -> None:
    build(FILES)
    began = time.perf_counter()
    for _ in range(10):
        build(FILES)
    assert (time.perf_counter() - began) / 10 < 0.05
