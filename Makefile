# `make demo` and `make test` are all a newcomer needs; each makes the environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# A test file stays with one worker, which makes its fixtures once.
SHARED := -n auto --maxprocesses 4 --dist loadfile

.PHONY: help install demo test test-slow lint coverage check bench search mutants stress pictures mini mini-gpu wheel clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/installed  ## Make .venv with the tested versions

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dv needs Python 3.11 or newer; try: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## Learn a subject and a motion, compose them, say where to look
	$(BIN)/dv demo

test: install  ## The quick tests
	$(PYTEST) $(SHARED)

test-slow: install  ## The slow tests
	$(PYTEST) -m slow

lint: install  ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: install  ## The quick tests with branch coverage and its gates
	$(PYTEST) $(SHARED) --cov --cov-branch --cov-report=
	$(BIN)/coverage report --include='registry/*' --fail-under=100
	$(BIN)/coverage report --include='dreamvideo_cli/*' --fail-under=95
	$(BIN)/coverage report --include='engine/*' --fail-under=90

check: lint coverage  ## Everything that must hold before a change lands

bench: install  ## Ratios of our loops, of the registry and of start-up to what they stand on
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.memory
	$(BIN)/python -m tests.bench.registry
	$(BIN)/python -m tests.bench.startup

search: install  ## The property tests with new random examples, before a release; pin what fails as @example
	HYPOTHESIS_PROFILE=search $(PYTEST) $(SHARED) $$(grep -rl 'from hypothesis' tests --include='test_*.py')

WHAT ?= engine.diffusion.*
mutants: install  ## Put small mistakes into WHAT ('engine.diffusion.*'), one at a time, and tell which no test notices
	$(BIN)/python -m pip install --quiet 'mutmut>=3.8,<4'
	$(BIN)/mutmut run '$(WHAT)'

stress: install  ## Processes killed at random over one registry for a minute, 300,000 broken files, strange texts
	$(BIN)/python -m tests.stress
	$(BIN)/python -m tests.stress.sweep
	$(PYTEST) -m stress tests/cli/test_texts.py

pictures: install  ## Make the pictures of the README anew, by running what they show
	$(BIN)/python -m tests.pictures

MINUTES ?= 240
PRESET ?= cpu
mini: install  ## Train a bundled base from nothing within MINUTES, into build/mini (PRESET=gpu MINUTES=8)
	$(BIN)/python -m engine.mini.recipe.train --preset $(PRESET) --minutes $(MINUTES) --out build/mini

mini-gpu:  ## Train it on a GPU within nine minutes, offline: WHEELS=folder OUT=folder (tests/gpu/mini.sh tells more)
	tests/gpu/mini.sh $(WHEELS) $(OUT)

wheel: install  ## Build the wheel
	$(BIN)/python -m build --wheel

clean:  ## Remove what the targets made
	rm -rf $(VENV) build dist dv-demo .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
