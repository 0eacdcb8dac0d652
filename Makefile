# Two commands do everything on a machine that has Python 3.11+ and make:
#   make demo   install into .venv and run the overfit test on the built-in sample
#   make test   install into .venv and run everything that CI runs
# `make check` is the quick part: lint, types, floors, the documentation and fast tests.

PYTHON ?= python3
VENV := .venv
NIGHTLY := .venv-nightly
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test check lint docs fast slow messages matrix record replicas compare schemas install clean test-nightly

# Installs again only when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "saldiag needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/saldiag overfit --subset 0.1

check: lint docs fast

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site is in build/docs; `.venv/bin/python -m mkdocs serve` shows it while you write.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# Two sessions: where the marked tests are left out, nothing may import TensorFlow.
fast: install
	$(PYTEST) -m 'not tensorflow and not slow'
	$(PYTEST) -m 'tensorflow and not slow'

slow: install
	$(PYTEST) -m 'not tensorflow and slow'
	$(PYTEST) -m 'tensorflow and slow'

test: lint docs
	$(PYTEST) --durations=25 -m 'not tensorflow'
	$(PYTEST) --durations=25 -m 'tensorflow'
	$(BIN)/saldiag selftest --jobs 2 --sample "$$(git rev-parse HEAD 2>/dev/null || date +%F)"

# Writes the JSON Schemas again after a change of the dataclasses that they describe.
schemas: install
	$(BIN)/python -m saldiag_reports.schema.generate

clean:
	rm -rf $(VENV) $(NIGHTLY) build dist .mypy_cache .ruff_cache .pytest_cache

# Writes tests/messages.txt, every text that a user can see. After a change of texts only,
# `make messages OPTIONS=--cheap` does it in seconds, without running tests.
messages: install
	$(BIN)/python -m tests.support.messages $(OPTIONS)

matrix: install
	$(BIN)/saldiag selftest

# Run both halves of the matrix and write the outcome to the record and to docs/selftest.md.
# `make record PART=NAME` runs the programs of that name only and adds those that are new.
record: install
	rm -rf build/selftest
	$(BIN)/saldiag selftest $(PART) --seed 0 --out build/selftest/tuning || test $$? -eq 1
	$(BIN)/saldiag selftest $(PART) --out build/selftest/reported || test $$? -eq 1
	$(BIN)/python -m saldiag.selftest.record build/selftest/tuning build/selftest/reported

# Every fault of training on several replicas, its twin and healthy programs, on 2 and 4 parts of
# the CPU; CI runs a sample that changes with the commit. About 15 minutes.
replicas: install
	SALDIAG_WHOLE_MATRIX=1 $(PYTEST) -m slow tests/probes/distribution/test_replica_watch.py

# Run every program of tests/compare plainly and under `saldiag run`, twice each, and write what
# differs to tests/compare/totals.json. Takes up to half an hour on two free cores;
# `make compare OPTIONS=--resume` goes on, `OPTIONS="--only NAME"` runs one program.
compare: install
	$(BIN)/python -m tests.compare $(OPTIONS)

# The fast tests with the newest builds of TensorFlow and Keras, in an environment of their own.
# tests/test_keras_internals.py runs first: it lists the private names that they no longer have.
# The rest of pyproject.toml is installed without the packages that the builds replace.
test-nightly:
	$(PYTHON) -m venv --clear $(NIGHTLY)
	$(NIGHTLY)/bin/python -m pip install --quiet --disable-pip-version-check --pre --upgrade tf-nightly keras-nightly \
	  || $(NIGHTLY)/bin/python -m pip install --quiet --disable-pip-version-check --pre --upgrade tensorflow keras
	$(NIGHTLY)/bin/python -c "$$OTHER_REQUIREMENTS" > $(NIGHTLY)/requirements.txt
	$(NIGHTLY)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(NIGHTLY)/requirements.txt
	$(NIGHTLY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(NIGHTLY)/bin/python -m pytest -q tests/test_keras_internals.py
	$(NIGHTLY)/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

define OTHER_REQUIREMENTS
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
print(*(w for w in wanted if re.match(r"[\w-]+", w)[0] not in {"keras", "tensorflow"}), sep="\n")
endef
export OTHER_REQUIREMENTS
