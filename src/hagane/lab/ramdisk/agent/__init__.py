"""The program inside the ramdisk: speaks the ironic-python-agent's protocol in some hundred lines of plain Python.

    find the network ─▶ (inspection: tell what is here) ─▶ lookup ─▶ heartbeats ◀─▶ commands on port 9999 ─▶ power off

It runs on CPython's standard library alone, and of that only on what loads fast, because on an emulated CPU every
import counts; it imports nothing of the rest of Hagane, as it travels without it. Names on the wire are the original's.
"""
