"""Foreign clients, unmodified: Tempest (see scripts/interop.py) and the modules of Ansible (see tests/clients)."""
