PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: env demo test lint format clean

env: .venv/.installed

.venv/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Expected Python 3.11 or newer, got $$($(PYTHON) --version); name one with make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: env
	mlflow run . --env-manager local

lint: env
	ruff format --check .
	ruff check .
	mypy
	lint-imports

format: env
	ruff format .
	ruff check --fix .

# Fast tests first, then those on real servers and the end-to-end runs; two at a time with one thread each.
test: lint
	OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal -m "not slow and not environments and not services"
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder -m "(slow or services) and not environments"

clean:
	rm -rf .cellml-cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
