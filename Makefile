# Two commands: `make demo` and `make test`. Each needs Python >= 3.11 and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit coverage lock

help:
	@echo "make demo   run the main job on this machine, end to end (installs the server extra)"
	@echo "make test   lint, types, import contracts and all tests"

demo: $(VENV)/.server
	@$(BIN)/python -m autonomics demo

test: lint unit

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -q

# The rooms that everything else stands on are covered branch by branch. With CI set, Hypothesis
# draws the same examples each time, so a branch is not covered by luck.
COVERED := runtime supervisors receipts gates tenancy
coverage: $(VENV)/.dev
	CI=true $(BIN)/python -m pytest -q $(COVERED:%=tests/%) tests/storage tests/recipes \
		$(COVERED:%=--cov=autonomics.%) --cov-branch --cov-fail-under=100 \
		--cov-report=term-missing:skip-covered

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "autonomics needs Python 3.11 or newer, found %d.%d: name another with make PYTHON=..." % v[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "autonomics needs the venv module of $(PYTHON): install it (Debian: python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# pip refuses an editable install together with hashes, hence two steps.
$(VENV)/.server: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the server extra into $(VENV)"
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the development tools into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.server

# Needs uv. The files name no index, so they install from whichever one pip is set up for. Extras
# stay in the names: without them pip looks at a newer release that an extra would allow, and refuses.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
		--extra server --group build pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras \
		--extra server --extra mcp --extra dev --group build -c requirements.txt pyproject.toml -o requirements-dev.txt
