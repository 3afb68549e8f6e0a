# Everything a newcomer runs. Needs Python 3.11 or newer and a package index; writes only below this folder.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip asks rustc for its version, and rustup's rustc would leave settings in the user's home.
export RUSTUP_HOME := $(CURDIR)/.cache/rustup
# No AWS SDK started from here may ask an instance-metadata service for credentials.
export AWS_EC2_METADATA_DISABLED := true

.PHONY: help demo test test-all lint types cloud lock clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## copy a bucket between two regions of the embedded AWS, losing a worker on the way
	@$(BIN)/python -m tests.demo

test: $(READY) ## the tests, within five minutes
	@$(BIN)/python -m pytest -q -m "not slow"

test-all: lint types $(READY) ## all that CI runs: lint, types, every test, the demo, the README's commands
	@$(BIN)/python -m pytest -q
	@$(BIN)/python -m tests.demo

lint: $(READY) ## ruff and shellcheck
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/shellcheck .ci/run

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

cloud: $(READY) ## leave the embedded AWS running, and print the environment to paste
	@$(BIN)/python -m tests.cloud

lock: ## renew both lock files (needs uv)
	uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.txt
	uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links pyproject.toml --group dev -o tests/requirements.txt

clean: ## remove what make made
	rm -rf .venv .cache build dist *.egg-info

# The stamp is written last, so that an interrupted set-up is done again from the start.
$(READY): tests/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fleetcopy needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up .venv (about a minute, once)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install -q --require-hashes -r tests/requirements.txt
	@$(BIN)/pip install -q --no-deps --no-build-isolation --editable .
	@touch $@
