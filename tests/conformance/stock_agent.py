"""Runs the original agent's service and heartbeat (not its life as a machine) with the Python that has it installed."""

import sys

from ironic_python_agent import agent as ipa  # type: ignore[import-not-found]
from ironic_python_agent import config, hardware  # type: ignore[import-not-found]
from ironic_python_agent.extensions import base  # type: ignore[import-not-found]
from oslo_log import log  # type: ignore[import-untyped]

NODE = "6b3f4a5e-3f0a-4c59-9a0c-0d6c1f3c2a10"


class Manager(hardware.GenericHardwareManager):  # type: ignore[misc]
    """A machine that has a disk of 4 GiB and touches nothing."""

    def evaluate_hardware_support(self) -> int:
        return int(hardware.HardwareSupport.MAINLINE)

    def list_block_devices(self, include_partitions: bool = False, all_serial_and_wwn: bool = False) -> list[object]:
        return [hardware.BlockDevice("/dev/null", "TESTDISK", 4 << 30, False, vendor="ACME")]

    def get_os_install_device(self, permit_refresh: bool = False) -> str:
        return "/dev/null"

    def wait_for_disks(self) -> None:
        return None

    def erase_devices_metadata(self, node: object, ports: object) -> None:
        return None

    def full_sync(self) -> None:
        return None


def main() -> None:
    port, token = sys.argv[1:3]
    log.register_options(config.CONF)
    config.CONF(["--api_url", f"http://127.0.0.1:{port}/baremetal", "--listen_port", "0"])
    config.CONF.set_override("image_download_connection_retry_interval", 1)
    config.CONF.set_override("image_download_connection_retries", 1)
    # pylint: disable=protected-access
    hardware._global_managers = [{"name": "Manager", "manager": Manager(), "support": 3}]
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        mine = probe.getsockname()[1]
    where = ipa.Host("127.0.0.1", mine)
    it = ipa.IronicPythonAgent(
        api_url=f"http://127.0.0.1:{port}/baremetal", advertise_address=where, listen_address=where, ip_lookup_attempts=1,
        ip_lookup_sleep=1, network_interface=None, lookup_timeout=10, lookup_interval=1, standalone=False,
        agent_token=token, hardware_initialization_delay=0, advertise_protocol="http",
    )  # fmt: skip
    it.ext_mgr = base.init_ext_manager(it)
    it.started_at = 1.0
    it.process_lookup_data(it.api_client.lookup_node({"interfaces": []}, 10, 1, node_uuid=NODE))
    config.CONF.set_override("enable_auto_tls", False)
    it.serve_ipa_api()


main()
