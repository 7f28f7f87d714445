# onex-mesh. `make help` lists the targets; the first one of them that is used sets .venv up.
# RUNARGS are passed on: make test RUNARGS="tests/unit -k lease"

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
RUNARGS ?=

# Where `make tools` puts what is no Python package; used by every target where it is there.
export ONEX_TOOLS ?= $(HOME)/.cache/onex-mesh/tools
export PATH := $(ONEX_TOOLS)/bin:$(PATH)

.PHONY: run dev test lint generate generate-check bench tools setup lock clean help

run: setup ## Run the orders example: an embedded etcd, four node processes, real orders, and a table of what came out
	@$(BIN)/python examples/orders/run.py $(RUNARGS)

dev: setup ## Serve the orders example with embedded etcd and four nodes until Ctrl-C; prints the addresses
	@$(BIN)/onex-mesh dev --app examples.orders.app:app $(RUNARGS)

test: setup ## Run every test; with ONEX_REQUIRE_ALL=1 a skipped test is a failed one
	@$(BIN)/pytest $(RUNARGS)

lint: setup ## Check style, types, the direction of imports, the protos and their compatibility
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p bench
	$(BIN)/lint-imports
	scripts/lint-proto.sh

generate: setup ## Make the stubs in generated/ from proto/
	@scripts/generate.sh $(BIN)/python

generate-check: setup ## Fail if generated/ is not what proto/ makes; writes nothing
	@scripts/generate.sh --check $(BIN)/python

bench: setup ## Measure workflows per second and latency; RUNARGS="--help" shows what can be chosen
	@$(BIN)/python -m bench $(RUNARGS)

tools: ## Install a current etcd, grpcurl and buf into ONEX_TOOLS; needs Go and npm
	@scripts/tool.sh etcd
	@scripts/tool.sh grpcurl
	@scripts/tool.sh buf

setup: ## Make .venv with the locked versions; does nothing if it is right already
	@scripts/setup.sh

lock: ## Write constraints.txt anew with the newest versions that fit pyproject.toml
	@scripts/lock.sh

clean: ## Delete .venv, caches and what the examples left
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .run .onex build dist

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'
