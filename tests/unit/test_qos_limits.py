"""QoS specs as a Host's limits: what counts for each GiB, and what nobody could hold to."""

import pytest

from hagane.drivers.hypervisor import libvirt_disk
from hagane.errors import Invalid
from hagane.volume import qos_limits


def test_a_host_knows_the_keys_that_the_api_checks() -> None:
    assert qos_limits.KEYS == libvirt_disk.IOTUNE


@pytest.mark.parametrize(
    ("specs", "at_10"),
    [
        ({"read_iops_sec": "500", "vendor": "x"}, {"read_iops_sec": "500", "vendor": "x"}),
        ({"read_iops_sec_per_gb": "30"}, {"read_iops_sec": "300"}),
        ({"read_iops_sec_per_gb": "30", "read_iops_sec_per_gb_min": "400"}, {"read_iops_sec": "400"}),
        ({"total_bytes_sec_per_gb": "30", "total_bytes_sec_max": "200"}, {"total_bytes_sec": "200"}),
        ({"total_bytes_sec": "9", "total_bytes_sec_per_gb": "30"}, {"total_bytes_sec": "300"}),
        ({"total_bytes_sec_max": "200"}, {"total_bytes_sec_max": "200"}),
    ],
)
def test_limits_of_ten_gigabytes(specs: dict[str, str], at_10: dict[str, str]) -> None:
    qos_limits.check("front-end", specs)
    assert qos_limits.at_size(specs, 10) == at_10


@pytest.mark.parametrize(
    ("specs", "word"),
    [
        ({"read_iops_sec": "fast"}, "read_iops_sec must be a whole number, not 'fast'"),
        ({"size_iops_sec": "-1"}, "size_iops_sec"),
        ({"write_bytes_sec_per_gb_min": "1.5"}, "write_bytes_sec_per_gb_min"),
        ({"total_iops_sec_max": str(1 << 63)}, "whole number"),
        ({"total_bytes_sec": "1", "read_bytes_sec_per_gb": "1"}, "cannot stand beside"),
        ({"total_iops_sec_max": "1", "write_iops_sec": "1"}, "total_iops_sec cannot stand beside"),
    ],
)
def test_what_no_host_can_hold_to_is_refused(specs: dict[str, str], word: str) -> None:
    with pytest.raises(Invalid, match=word):
        qos_limits.check("both", specs)
    qos_limits.check("back-end", specs)
