# Every chore has one name. VENV may point elsewhere: make test VENV=/tmp/venv
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: test-deb test-image help setup setup-dev system demo week test quick check format torture bench soak clean test-arm locks

help:
	@echo "make demo      set up what it needs and run the demo: a field station, offline and back, killed and restarted"
	@echo "make week      a simulated week at a field station, with four days without a link, in about a minute"
	@echo "make test      set up what it needs, then all checks and all tests"
	@echo "make quick     the unit tests only, in seconds"
	@echo "make check     formatting, lints, types, import contracts"
	@echo "make torture   the fault tests in their long form (hours on a slow disk)"
	@echo "make test-image   the disk image, made and started in QEMU five times: twenty minutes without KVM"
	@echo "make test-deb  the Debian package, and deploying over SSH, on a real systemd in a container: about ten minutes"
	@echo "make test-arm  the bundles for ARM, installed and run under QEMU, about ten minutes"
	@echo "make locks     what is installed on devices, anew by version and hashes"
	@echo "make bench     one JSON line a figure, each beside a reference measured in the same run"
	@echo "make soak      five minutes of light faults: what grows that should not; EDGE_SOAK_S=3600 for an hour"
	@echo "make format    format the code"

# A virtual environment with the runtime only. Needs Python 3.11 and its venv module, which Debian packs apart.
$(BIN)/edge: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "installing python3-venv"; $(SUDO) apt-get update -qq; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

setup: $(BIN)/edge

$(BIN)/.dev: $(BIN)/edge pyproject.toml
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

setup-dev: $(BIN)/.dev

# Real peers for the tests: a broker, a compiler for the fault injector, openssl for certificates, Node for its handlers,
# SoftHSM for keys in a token; what makes and boots a Debian of its own, to deploy to.
# Where apt is not to be had, the tests that need them skip and say so.
system:
	@missing=; for pair in mosquitto:mosquitto gcc:gcc openssl:openssl node:nodejs softhsm2-util:softhsm2 \
	  ssh:openssh-client mmdebstrap:mmdebstrap systemd-nspawn:systemd-container; do \
	  PATH="$$PATH:/usr/sbin" command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  if command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then \
	    echo "installing$$missing"; $(SUDO) apt-get update -qq; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "not installed, some tests will skip:$$missing"; fi; fi

demo: setup
	$(BIN)/edge demo

week: setup
	$(BIN)/edge run components/field_station --simulate --script hardware/traces/field-week.jsonl

test: system setup-dev check
	EDGE_SSH_ROOT_S=$${EDGE_SSH_ROOT_S:-300} $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

quick: setup-dev
	$(BIN)/python -m pytest -m "not long" --ignore tests/faults --ignore tests/system

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

torture: system setup-dev
	EDGE_TORTURE=full $(BIN)/python -m pytest tests/faults tests/system -s --timeout 0

test-image: setup-dev
	$(SUDO) apt-get update -qq
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap dosfstools mtools \
	  syslinux syslinux-common e2fsprogs fdisk qemu-utils qemu-system-x86 openssh-client >/dev/null
	$(SUDO) env EDGE_IMAGE=$${EDGE_IMAGE:-1} $(BIN)/python -m pytest tests/deploy/image -s

test-deb: system setup-dev
	@missing=; for pair in shellcheck:shellcheck gpg:gnupg dpkg-scanpackages:dpkg-dev; do \
	  command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ]; then $(SUDO) apt-get update -qq; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi
	$(SUDO) env EDGE_ROOT_S=900 $(BIN)/python -m pytest tests/deploy/deb tests/deploy/ssh

# Debian roots for ARM, kept in EDGE_ROOTS; what runs in them is emulated, which takes ten minutes.
EDGE_ROOTS ?= $(HOME)/.cache/edge-runtime/roots
test-arm: setup-dev
	$(SUDO) apt-get update -qq
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap qemu-user-static >/dev/null
	$(SUDO) sh tests/arm_roots.sh $(EDGE_ROOTS)
	$(SUDO) env EDGE_ROOTS=$(EDGE_ROOTS) $(BIN)/python -m pytest tests/system/test_arm.py -s

# What is installed on devices, by version and hashes; `--check` fetches all of it.
locks: setup-dev
	$(BIN)/python deploy/locks/locks.py
	$(BIN)/python deploy/locks/locks.py --check

bench: system setup-dev
	$(BIN)/python -m tests.benchmarks

soak: system setup-dev
	$(BIN)/python -m tests.benchmarks.bench_soak

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
