# Everything a newcomer runs. Needs Python 3.11 or newer and a package index; writes only below this folder.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready
LOCALSTACK := .venv-localstack/.ready
# Three tests at a time, for most of them wait; those that share a server, in one process.
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist loadgroup

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip asks rustc for its version, and rustup's rustc would leave settings in the user's home.
export RUSTUP_HOME := $(CURDIR)/.cache/rustup
# No AWS SDK started from here may ask an instance-metadata service for credentials.
export AWS_EC2_METADATA_DISABLED := true

.PHONY: help demo test test-all test-boot servers bench lint types cloud lock clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## a Spot Fleet moves a bucket on the embedded AWS, losing two instances on the way
	@$(BIN)/python -m tests.demo

test: $(READY) ## the tests, within five minutes
	@$(PYTEST) -m "not slow and not boot"

test-all: lint types servers $(READY) .venv-checkov/.ready ## lint, types, and every test but the boot
	@$(PYTEST) -m "not boot"

test-boot: $(READY) ## boot the stack's instances under a real systemd; as root, needs debootstrap and systemd-container
	@$(BIN)/python -m tests.boot

servers: $(LOCALSTACK) ## LocalStack for the slow tests (Python 3.13); Debian has radosgw (ceph-mon ceph-osd radosgw)

bench: $(READY) .cache/.bench-ready ## what copying, listing and planning cost, beside rclone: half an hour, two idle cores
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.copies
	@$(BIN)/python -m tests.bench.listing
	@$(BIN)/python -m tests.bench.planning

lint: $(READY) ## ruff and shellcheck
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/shellcheck .ci/run bootstrap/*.sh

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

cloud: $(READY) ## leave the embedded AWS running, and print the environment to paste
	@$(BIN)/python -m tests.cloud

LOCK := uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
# LocalStack's dependencies as of its release.
LOCK_OF_ITS_DAY := $(subst --universal,--python-version 3.13 --exclude-newer 2026-03-05,$(LOCK))

lock: ## renew all lock files (needs uv)
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) pyproject.toml --group dev -o tests/requirements.txt
	$(LOCK) --group release -o bootstrap/requirements.txt
	echo checkov | $(LOCK) - -o tests/checkov.txt
	$(LOCK) -c tests/requirements.txt tests/bench/requirements.in -o tests/bench/requirements.txt
	$(LOCK_OF_ITS_DAY) tests/servers/localstack.in -o tests/servers/localstack.txt

clean: ## remove what make made
	rm -rf .venv .venv-checkov .venv-localstack .cache build dist *.egg-info

# A release is built for its wheels, which stay in .cache: no test reaches the package index. The stamp is written
# last, so that an interrupted set-up is done again from the start.
$(READY): tests/requirements.txt requirements.txt bootstrap/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fleetcopy needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up .venv (about a minute, once)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install -q --require-hashes -r tests/requirements.txt
	@$(BIN)/pip install -q --no-deps --no-build-isolation --editable .
	@$(BIN)/fleetcopy release build --output .cache/releases >/dev/null
	@touch $@

# checkov pins an older boto3, and so has an environment of its own.
.venv-checkov/.ready: tests/checkov.txt
	@$(PYTHON) -m venv --clear .venv-checkov
	@.venv-checkov/bin/pip install -q --require-hashes -r $<
	@touch $@

# LocalStack pins its own of everything, and needs Python 3.13.
$(LOCALSTACK): tests/servers/localstack.txt
	@PYENV_VERSION=$$(pyenv whence python3.13 2>/dev/null | tail -1) python3.13 -m venv --clear .venv-localstack
	@.venv-localstack/bin/pip install -q --require-hashes -r $<
	@touch $@

# rclone, and what the benchmark's server and picture need.
.cache/.bench-ready: tests/bench/requirements.txt $(READY)
	@$(BIN)/pip install -q --require-hashes -r $<
	@touch $@
