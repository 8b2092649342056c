# Everything is installed into .venv; only Python 3.10 or newer, pip and make have to be there before.
#
#   make demo                      another interpreter: make demo PYTHON=python3.12
#
# On Linux, PyPI's PyTorch is the CUDA build, several gigabytes with its libraries. PyTorch's own index has a small one
# for the CPU, which pip prefers once it knows it:
#
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --no-input --disable-pip-version-check -c constraints.txt

# What the tests and examples compute is small: a second thread gains nothing, and waits long on a busy machine.
test test-all test-reference examples gallery: export OMP_NUM_THREADS ?= 1
# A process for each core; the tests of a file stay together, since some share what takes long to make.
WORKERS := -n auto --dist loadfile
# Threads that wait sleep: where another process needs a core, spinning ones hold up every step, several times over.
demo: export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all test-reference bench advice-rates gallery examples lint format docs install clean interpreter

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.core  ## train a language model on an embedded text and show what it learnt (minutes)
	$(BIN)/rondeau demo

test: $(VENV)/.test  ## the tests
	$(BIN)/python -m pytest $(WORKERS)

test-all: $(VENV)/.test  ## the tests, the slow ones too
	$(BIN)/python -m pytest $(WORKERS) -m ""

# Without those that name an engine themselves: nothing would be another for them.
test-reference: $(VENV)/.test  ## what recurs, with every scan on the reference loop
	$(BIN)/python -m pytest $(WORKERS) --engine reference tests/cells tests/layers tests/models \
	  tests/recurrence/test_autograd.py tests/recurrence/test_context.py tests/recurrence/test_engine.py tests/recurrence/test_scan.py

bench: $(VENV)/.bench  ## the benchmark, all of it (hours); less: python -m benchmarks --help
	$(BIN)/python -m benchmarks

gallery: $(VENV)/.core  ## train the gallery's networks, draw them, renew its page (half an hour)
	$(BIN)/python -m benchmarks.gallery

advice-rates: $(VENV)/.test  ## how often each rule of the advice is right, on networks drawn at random (half an hour)
	$(BIN)/python -m benchmarks.advice --verbose

examples: $(VENV)/.test  ## run every program in examples/
	@set -e; for program in $(sort $(wildcard examples/*.py)); do echo "== $$program"; $(BIN)/python -W error $$program; done

lint: $(VENV)/.dev  ## style, types, and which room imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev  ## put style right where a tool can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.dev  ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(VENV)/.dev  ## everything a developer needs, and the pre-commit hooks
	$(BIN)/pre-commit install

clean:  ## remove what make made
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# An empty file in .venv marks each step that is done; it is done again when the pins have changed.

$(VENV)/.core: $(VENV)/.made $(PINS)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.made $(PINS)
	$(INSTALL) -e '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(PINS)
	$(INSTALL) -e '.[test,dev,docs]'
	@touch $@

$(VENV)/.bench: $(VENV)/.made $(PINS)
	$(INSTALL) -e '.[bench]'
	@touch $@

$(VENV)/.made: | interpreter
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Says what is wrong with the interpreter before pip gets to say it at length.
interpreter:
	@if [ ! -e $(VENV)/.made ]; then \
	  command -v $(PYTHON) >/dev/null 2>&1 || { \
	    echo "There is no $(PYTHON) here. Install Python 3.10 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "Rondeau needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	elif [ '$(origin PYTHON)' != file ]; then \
	  asked=$$($(PYTHON) --version 2>&1); made=$$($(BIN)/python --version 2>&1); \
	  [ "$$asked" = "$$made" ] || { echo "$(VENV) was made with $$made, not $$asked. Run make clean first." >&2; exit 1; }; \
	fi
