"""Virtual bare-metal servers: QEMU machines behind emulated BMCs that speak Redfish and IPMI."""
