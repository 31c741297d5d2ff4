# Everything a newcomer types: `make demo`, `make test`; everything CI runs: `make`.
SHELL := /bin/bash
.DEFAULT_GOAL := check

# The first Python of the supported versions that really starts (version managers leave names that do not).
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# ONNX Runtime's Linux builds note what they run in ~/.cache and send it to their makers; nothing made here does.
export ORT_DISABLE_TELEMETRY ?= 1

.PHONY: check lint format types test test-all bench bench-page bench-peers demo docs dist clean
.DELETE_ON_ERROR:

check: lint types test

$(VENV)/python:
	@test -n "$(PYTHON)" || { echo "mlserve needs Python 3.11 or 3.12 on the PATH (or: make PYTHON=/path/to/python)" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo: $(VENV)/python pyproject.toml constraints.txt
	@echo "installing mlserve with the extras sklearn and report into $(VENV) (1.1 GB, a few minutes the first time)" >&2
	@$(PIP) --editable '.[sklearn,report]'
	@touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml constraints.txt
	@echo "installing what the tests need into $(VENV) (torch among it, 3 GB, a few minutes the first time)" >&2
	@$(PIP) torch==2.13.0
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo ## trains, exports, registers, serves, swaps, rolls back and quantizes on real data
	@$(BIN)/python -m examples.fraud

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/dev
	$(BIN)/mypy

test: $(VENV)/dev ## the tests, slow ones in their short form
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term --cov-fail-under=90 $(ARGS)

test-all: $(VENV)/dev ## the tests, slow ones in full
	MLSERVE_TEST_ALL=1 $(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/dev ## the table of speed against limits and peers, in one run; ARGS=--quick, or ARGS="fastapi minilm"
	$(BIN)/python -m tests.bench $(ARGS)

bench-page: bench ## the table, and the measured parts of docs/performance.md written from it
	@$(BIN)/python -m tests.bench.flame >/dev/null || true  # where py-spy is installed
	$(BIN)/python -m tests.bench.page

bench-peers: ## installs the peers that make bench measures where it finds them, each into build/bench/peers
	@test -n "$(PYTHON)" || { echo "this needs Python 3.11 or 3.12 on the PATH" >&2; exit 1; }
	@$(PYTHON) -m venv build/bench/peers/mosec
	@build/bench/peers/mosec/bin/python -m pip --disable-pip-version-check install --quiet mosec onnxruntime==1.31.1 numpy
	@$(PYTHON) -m venv build/bench/peers/mlserver
	@build/bench/peers/mlserver/bin/python -m pip --disable-pip-version-check install --quiet 'mlserver==1.7.1' 'uvloop<0.22' onnxruntime==1.31.1 numpy

docs: $(VENV)/dev ## writes what docs/cli.md and docs/conformance.md have from the program itself
	$(BIN)/python -m tests.options_page
	$(BIN)/python -m tests.conformance_page

dist: $(VENV)/dev
	$(BIN)/python -m hatchling build

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage .coverage.*
