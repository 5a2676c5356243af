# Everything is done with the tools of .venv, which is made from requirements.lock when first needed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
DATA ?= ./data
STORE ?= sqlite
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.PHONY: run
run: $(READY) ## start a server on ./data and print two ready clients
	$(BIN)/python -m tradewire serve --data $(DATA) --demo

.PHONY: test
test: check ## everything: environment, checks, all tests with coverage
	$(BIN)/coverage erase
	$(MAKE) --no-print-directory -j2 tests-on-engine tests-elsewhere
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Side by side, since much of what the tests on Cassandra take is waiting.
TESTS := not bench and not chaos and not scale
.PHONY: tests-on-engine tests-elsewhere
tests-on-engine: $(READY)
	$(BIN)/coverage run -m pytest -m "on_engine and $(TESTS)"
tests-elsewhere: $(READY)
	$(BIN)/coverage run -m pytest -m "not on_engine and $(TESTS)"

.PHONY: check
check: $(READY) ## lint, format, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: unit
unit: $(READY) ## the fast tests alone
	$(BIN)/pytest tests/unit

.PHONY: fault
fault: $(READY) ## the tests that kill servers and cut sockets
	TRADEWIRE_KILLS=50 $(BIN)/pytest -m fault

.PHONY: chaos-store
chaos-store: $(READY) ## kill and freeze nodes and database nodes under load
	$(BIN)/pytest -m chaos tests/chaos/test_store.py

.PHONY: chaos-cluster
chaos-cluster: $(READY) ## kill nodes, stop Kafka and cut sockets under load
	$(BIN)/pytest -m chaos tests/chaos/test_cluster.py

.PHONY: scale-store
scale-store: $(READY) ## read an account of 100,000 conversations, and 1,000,000 messages
	$(BIN)/pytest -m scale tests/scale

.PHONY: bench
bench: $(READY) ## measure beside the bare floor; STORE=scylla: on Cassandra; CLUSTER=1: two nodes
	$(BIN)/python -m loadtest bench $(if $(CLUSTER),--cluster,--store $(STORE))

.PHONY: engines
engines: $(READY) ## start Cassandra and Kafka for development and print what to export
	@$(BIN)/python -m tradewire.testing.engines

.PHONY: format
format: $(READY) ## put the code into the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(READY) ## write schemas/ and docs/reference from the code
	$(BIN)/python docs/generate.py

.PHONY: wheel
wheel: $(READY) ## build the wheel into dist/
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

.PHONY: lock
lock: $(READY) ## pin the newest versions that pyproject.toml allows
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --extra dev --extra kafka --extra scylla \
	  --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	  --output-file requirements.lock pyproject.toml

.PHONY: clean
clean: ## remove the environment and everything built
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
