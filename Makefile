# Two commands do everything on a machine that has Python 3.11+ and make:
#   make demo   install into .venv and run the overfit test on the built-in sample
#   make test   install into .venv and run everything that CI runs
# `make check` is the quick part: lint, types, floors and fast tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test check lint fast slow matrix record schemas install clean

# Installs again only when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "saldiag needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/saldiag overfit --subset 0.1

check: lint fast

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

slow: install
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m slow

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/saldiag selftest

# Writes the JSON Schemas again after a change of the dataclasses that they describe.
schemas: install
	$(BIN)/python -m saldiag_reports.schema.generate

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache

matrix: install
	$(BIN)/saldiag selftest

# Run it whole, both halves, and put what came of it on record and into the README.
record: install
	rm -rf build/selftest
	$(BIN)/saldiag selftest --seed 0 --out build/selftest/tuning || test $$? -eq 1
	$(BIN)/saldiag selftest --out build/selftest/reported || test $$? -eq 1
	$(BIN)/python -m saldiag.selftest.record build/selftest/tuning build/selftest/reported
