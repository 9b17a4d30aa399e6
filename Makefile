# `make demo` makes a picture, `make test` runs the tests: each works as the first thing done in a fresh clone.
# A virtual environment is made once; it is filled again when pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV ?= .venv
# Where to take torch from, for example https://download.pytorch.org/whl/cpu; empty: where pip looks anyway.
TORCH_INDEX ?=
# Test processes; each computes with one thread, because threads that share cores wait for each other.
WORKERS ?= logical

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
PROMPT := a large white heart on a teal background

.PHONY: demo test check bench format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed-base
	$(BIN)/gesso generate "$(PROMPT)" --seed 4

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# On an idle machine, 20 to 25 minutes on two cores; BENCH_ARGS names parts: latency, person, ...
bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.installed-base: EXTRAS :=
$(VENV)/.installed-test: EXTRAS := [test]
$(VENV)/.installed-dev: EXTRAS := [dev]
$(VENV)/.installed-bench: EXTRAS := [bench]
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(if $(TORCH_INDEX),$(PIP_INSTALL) --index-url $(TORCH_INDEX) torch)
	$(PIP_INSTALL) --editable ".$(EXTRAS)"
	$(if $(EXTRAS),$(PIP_INSTALL) --no-deps k-diffusion)
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Gesso needs Python 3.11 or newer: `make PYTHON=python3.11 ...`" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
