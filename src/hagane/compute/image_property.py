"""The properties of an image that mean something to a Server, as its answers show them from 2.98 on.

They are those that the image had when the Server was made or rebuilt. Names are the compute API's own and older ones.
"""

from collections.abc import Mapping

_NAMES = {
    "hw_": (
        "architecture emulation_architecture auto_disk_config boot_menu cdrom_bus cpu_cores cpu_sockets "
        "cpu_max_cores cpu_max_sockets cpu_max_threads cpu_policy cpu_thread_policy cpu_realtime_mask cpu_threads "
        "device_id disk_bus disk_type floppy_bus firmware_type firmware_stateless input_bus ipxe_boot "
        "locked_memory machine_type mem_encryption mem_encryption_model mem_page_size numa_nodes numa_cpus "
        "numa_mem pci_numa_affinity_policy pointer_model pmu qemu_guest_agent rescue_bus rescue_device rng_model "
        "time_hpet serial_port_count scsi_model video_model video_ram vif_model viommu_model vm_mode "
        "watchdog_action vif_multiqueue_enabled tpm_model tpm_version ephemeral_encryption "
        "ephemeral_encryption_format ephemeral_encryption_secret_uuid virtio_packed_ring maxphysaddr_mode "
        "maxphysaddr_bits sound_model usb_model redirected_usb_ports"
    ),
    "img_": (
        "bittorrent bdm_v2 block_device_mapping cache_in_nova compression_level hv_requested_version hv_type "
        "config_drive linked_clone mappings owner_id root_device_name use_agent version signature "
        "signature_hash_method signature_certificate_uuid signature_key_type hide_hypervisor_id"
    ),
    "os_": (
        "admin_user command_line distro require_quiesce secure_boot skip_agent_inject_files_at_boot "
        "skip_agent_inject_ssh type"
    ),
    "xenapi_": ("device_id image_compression_level use_agent skip_agent_inject_ssh skip_agent_inject_files_at_boot"),
    "vmware_": ("disktype image_version ostype linked_clone"),
    "": (
        "traits_required architecture owner_id auto_disk_config ipxe_boot cache_in_nova vm_mode bittorrent "
        "mappings block_device_mapping bdm_v2 root_device_name hypervisor_version_requires hypervisor_type"
    ),
}
KNOWN = frozenset(start + name for start, names in _NAMES.items() for name in names.split())


def of(properties: Mapping[str, str]) -> dict[str, str]:
    """What is kept of an image's properties."""
    return {name: value for name, value in properties.items() if name in KNOWN}
