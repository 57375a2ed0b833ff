.PHONY: serve test check bench prove clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Each mark is newer than what it was made from, so nothing is installed twice.
$(VENV)/.made: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "nocall needs Python 3.11 or newer; make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

serve: $(VENV)/.made ## set everything up and run the service with a demo organization
	@exec $(BIN)/nocall serve --demo

test: $(VENV)/.made ## set everything up and run the whole suite
	$(BIN)/python -m pytest -m "not prove"

check: $(VENV)/.made ## lint, format, types, import contracts, shape tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_shape.py

# The peers' packages come only with the benchmark.
$(VENV)/.peers: $(VENV)/.made bench/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/constraints.txt
	@touch $@

bench: $(VENV)/.peers ## print the benchmark table
	$(BIN)/python bench/run.py

prove: $(VENV)/.made ## run the proofs at full size
	$(BIN)/python -m pytest -m prove -v -s

clean: ## remove what was set up here; data folders stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
