# One set-up for everything: a venv with the project and its development tools, made when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check docs bench soak mutation clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Foreshock needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## The main job: Raft under partitions, kills and pauses, checked and reported.
	$(BIN)/foreshock test --target raft --workload lock --nemesis partition,kill,pause --time-limit 30

test: $(READY)  ## The whole suite, three tests at a time; tests/side_by_side.py says which beside which.
	$(BIN)/python -m pytest -n 3

check: $(READY)  ## What must hold before a commit: style, types, architecture.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tidy.py

docs: $(READY)  ## These pages as a site, in build/docs/index.html.
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs build/docs

bench: $(READY)  ## Figures with their peers', in one run.
	$(BIN)/python -m benchmarks

soak: $(READY)  ## 100,000 small histories for the checkers, 2,000 tests of the zoo, 200 harnesses killed at random moments.
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -q tests/checkers/test_properties.py
	$(BIN)/python -m tests.checkers.soak --count 100000
	$(BIN)/foreshock zoo --tests 2000
	$(BIN)/python -m tests.harness.kill_soak --count 200

mutation: $(READY)  ## Mistakes made in the checkers, one by one: each is noticed by a test, or answered for in the list.
	$(BIN)/python -m tests.mutation

clean:  ## Remove what dead runs left, and what the build made. The store is kept.
	test ! -x $(BIN)/foreshock || $(BIN)/foreshock clean
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .mutation
	find . -name __pycache__ -type d -prune -not -path './$(VENV)/*' -exec rm -rf {} +
