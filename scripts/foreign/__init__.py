"""The foreign suite: Tempest, unmodified, against a cloud of ours; see scripts/interop.py."""
