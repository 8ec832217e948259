"""BMCs of Nodes: what a row says of one, and what it cannot say."""

from pathlib import Path
from typing import Any

import pytest

from hagane.errors import DeviceFailed
from hagane.reconcile.node_bmc import Bmcs
from hagane.reconcile.node_sim import Fleet
from hagane.state.secret import Secrets


@pytest.mark.parametrize("port", ["623;reboot", "-1", "1e3", "9" * 5000, "٦٢٣"])
def test_a_port_that_is_none_is_the_rows_fault(tmp_path: Path, port: str) -> None:
    """An operator's typing error is a cause in words; an error that nobody foresaw would be tried again for ever."""
    info = {"ipmi_address": "192.0.2.1", "ipmi_port": port}
    row: dict[str, Any] = {"id": "n", "driver": "ipmi", "driver_info": info, "secrets": ""}
    with pytest.raises(DeviceFailed, match="is no port"):
        Bmcs(Secrets(tmp_path), Fleet()).of(row)
