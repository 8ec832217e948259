# make demo: from a fresh clone to a running cloud. Everything is installed by `setup`, which does nothing the second time.
PY := .venv/bin/python

.PHONY: help setup up demo down test test-agent test-ceph test-faults test-volume-faults interop lint check format bench lock

help:
	@echo "make demo    start a cloud on this machine and play a story with the openstack client (root)"
	@echo "make down    stop and remove everything that make demo or hagane up started"
	@echo "make test-agent  one deployment with the original ironic-python-agent"
	@echo "make test-ceph  volumes of a real Ceph cluster, made for it on this machine; ten minutes"
	@echo "make test-faults  every fault of the lab at every step of a Node's work; an hour or two"
	@echo "make test-volume-faults  every fault at every step of what is done with volumes; half an hour"
	@echo "make interop the official interop list by Tempest, on real machines and networks (root)"
	@echo "make test    all tests; make check: format, lint, types, layers, fast tests"
	@echo "make bench   measure, beside the limit of this machine"

setup: .venv/.ready
	@:

.venv/.ready: requirements.lock src/hagane/lab/packages.txt scripts/setup.sh
	@scripts/setup.sh

up: setup
	@$(PY) -m hagane up

demo: setup
	@$(PY) scripts/demo.py

down: setup
	@$(PY) -m hagane down --delete

# Files of tests share the cores, two at a time; with real devices each has namespaces and names of its own.
test: setup
	@$(PY) scripts/interop.py --install
	@$(PY) -m pytest -q -n 2 --dist loadfile -m "not real"
	@$(PY) -m pytest -q -n 2 --dist loadfile -m real

# The official list of 217 tests, by Tempest. TIMES=2: again on the same cloud. scripts/interop.py --help says more.
interop: setup
	@$(PY) scripts/interop.py --times $(or $(TIMES),1)

# The original ironic-python-agent: alone on BIOS and UEFI, then in a cloud; 2.5 GB of memory, some minutes.
test-agent: setup
	@$(PY) -m pytest -q -s tests/conformance/stock_ramdisk.py tests/dataplane/stock_agent.py

# A real Ceph of one machine, in a namespace of its own: the driver alone, then in a cloud. Installs Debian's (50 MB).
test-ceph: setup
	@scripts/setup.sh ceph
	@$(PY) -m pytest -q -s tests/conformance/ceph_driver.py tests/dataplane/ceph_cloud.py

# Every fault of the lab at every step of a Node's work: a table, after an hour or two.
test-faults: setup
	@$(PY) -m tests.dataplane.fault_matrix

# Hagane and tgtd killed, the network cut, at every step of attach, detach, snapshot, copy and boot by iSCSI: a table.
test-volume-faults: setup
	@$(PY) -m tests.dataplane.volume_faults

lint: setup
	@$(PY) -m ruff format --check src tests scripts bench
	@$(PY) -m ruff check src tests scripts bench
	@$(PY) -m mypy
	@.venv/bin/lint-imports

check: lint
	@$(PY) -m pytest -q -n 2 --dist loadfile -m "not real and not slow"

format: setup
	@$(PY) -m ruff format src tests scripts bench
	@$(PY) -m ruff check --fix src tests scripts bench

# Of the rack itself (root): bench/baremetal_deploy.py, bench/baremetal_switch.py, bench/provision_stream.py.
bench: setup
	@$(PY) bench/run.py
	@$(PY) bench/baremetal_nodes.py
	@$(PY) bench/baremetal_servers.py
	@$(PY) bench/volumes.py
	@$(PY) scripts/interop.py --sim

# Write requirements.lock, Tempest's and that of the Ansible modules again, with today's versions (needs uv).
LOCK := uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links --generate-hashes \
	  --python-version 3.11
lock:
	$(LOCK) --all-extras --output-file requirements.lock pyproject.toml
	$(LOCK) --output-file tests/interop/requirements.lock tests/interop/requirements.in
	$(LOCK) --no-deps --output-file tests/clients/requirements.lock tests/clients/requirements.in
