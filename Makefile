# The entry points. Each works from a fresh clone, and makes what it needs first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-vlm up flower test test-all test-unit chaos check bench pin clean

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
MANIFESTS := setup.cfg pyproject.toml constraints.txt
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal
CODE := models db evaluation tasks workers tests benchmarks examples
# Threads that wait by spinning take the cores that other processes would compute on.
export OMP_WAIT_POLICY ?= PASSIVE
# Tests and benchmarks start processes by the hundred; without its caches each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/engine-installed ## Ask three small models and a server, and watch them work
	@$(BIN)/colm demo

demo-vlm: $(VENV)/examples-installed ## The same about an image, with models that it trains first
	@$(BIN)/python -m examples.vision.demo

up: $(VENV)/engine-installed ## Run a whole site on this machine until Ctrl-C
	@$(BIN)/colm up

flower: $(VENV)/engine-installed ## Watch a running site in the browser
	@$(BIN)/colm flower

test: $(VENV)/dev-installed ## Check everything, and test it on real services
	@scripts/install-services
	$(PYTEST) -m "not nightly"

test-all: $(VENV)/dev-installed ## The same with every long test, embedded twin and fault, and coverage
	@scripts/install-services
	$(PYTEST) -m "not exhaustive" --cov --cov-report=term

test-unit: $(VENV)/dev-installed ## Run the tests that need no service, model or patience
	$(BIN)/python -m pytest -m "not (postgres or rabbitmq or model or gpu or slow)"

chaos: $(VENV)/dev-installed ## Inject every fault at every stage, in waves of 240 queries (hours)
	@scripts/install-services
	$(BIN)/python -m pytest tests/chaos --queries 240

check: $(VENV)/dev-installed ## Format, lint, types and the floors between packages
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev-installed ## Run every benchmark with small samples
	@scripts/install-services
	@set -e; for program in pipeline.overhead engine.precision engine.pools \
			pipeline.queue_tax engine.throughput engine.adapters peers.compare pipeline.record_size; do \
		$(BIN)/python -m benchmarks.$$program --quick; done

pin: ## Renew constraints.txt
	scripts/pin-constraints

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) .cache .coverage .coverage.* .*_cache .hypothesis build dist *.egg-info
	find $(CODE) migrations -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	scripts/make-venv $(VENV)

$(VENV)/engine-installed: $(BIN)/python $(MANIFESTS)
	@echo "Installing CoLM into $(VENV) (the first time takes minutes)"
	@$(PIP_INSTALL) -e ".[engine]"
	@touch $@

$(VENV)/examples-installed: $(BIN)/python $(MANIFESTS)
	@echo "Installing CoLM and what its examples need into $(VENV) (the first time takes minutes)"
	@$(PIP_INSTALL) -e ".[engine,examples]"
	@touch $@ $(VENV)/engine-installed

$(VENV)/dev-installed: $(BIN)/python $(MANIFESTS)
	@echo "Installing CoLM and its tools into $(VENV) (the first time takes minutes)"
	@$(PIP_INSTALL) -e ".[engine,evaluation,examples,tuning,dev]"
	@touch $@ $(VENV)/engine-installed $(VENV)/examples-installed
