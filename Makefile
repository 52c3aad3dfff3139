# 'make' alone lists the targets.
SHELL := bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYRIGHT := tests/node/node_modules/.bin/pyright
ARGS ?=
# Tests start many Python processes: without cached bytecode each compiles the whole service again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install setup setup-tests run test test-slow test-unit check fmt bench soak screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS is passed on: make run ARGS='--port 9000', make test ARGS='-k reaper'"

setup:
	@scripts/setup.sh

setup-tests:
	@scripts/setup.sh --tests

install: setup ## Create .venv with all dependencies and check for a browser
	@echo "Ready: make run"

run: setup ## Start the service on http://127.0.0.1:8000
	@exec $(BIN)/browser-sessions serve $(ARGS)

# Each process of a run would load schemathesis, whose tests are slow ones.
test: setup-tests ## Run the tests; many drive a real Chromium
	@$(BIN)/python -m pytest -m "not slow" -p no:schemathesis -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: setup-tests ## Run the long ones: soaks, faults, fuzzing, expiries
	@$(BIN)/python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-unit: setup ## Run the unit tests (no browser)
	@$(BIN)/python -m pytest tests/unit -m "not slow" $(ARGS)

check: setup-tests ## Check lint, format, types and imports between packages
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/import_circles.py
	@if [ -x $(PYRIGHT) ]; then $(PYRIGHT) --pythonpath $(BIN)/python --project tests/programs; \
		else echo "pyright: not installed, skipped (scripts/setup.sh --tests)"; fi

fmt: setup ## Format the code and fix lint findings where possible
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: setup ## Run benchmarks: make bench ARGS=status, or ARGS=all
	@$(BIN)/python scripts/bench.py $(ARGS)

soak: setup ## Create and end sessions for minutes and check for leaks
	@$(BIN)/python scripts/soak.py $(ARGS)

screenshots: setup ## Take the screenshots of the console for the docs
	@$(BIN)/python scripts/screenshots.py $(ARGS)

lock: ## Write constraints.txt from a fresh environment with the newest allowed versions
	@scripts/lock.sh

clean: ## Remove .venv and caches; data folders stay
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tests/node/node_modules \
		tests/generated_client/.venv
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
