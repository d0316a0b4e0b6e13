# Every target makes .venv if it is missing. Versions are pinned in constraints.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_MODEL ?= gmr-tiny
# Tests run in a process more than there are cores, for many wait for a disk, a clock or another process; more than four
# gain nothing and cost memory. Each takes a run of neighbours, so that what a file's tests share is made once; who is done
# takes from the others. Threads beside that only wait.
PARALLEL ?= -n $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))') --dist worksteal
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-unit check docs docs-links format clean

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/mrb run --model $(DEMO_MODEL) --out runs
	$(BIN)/mrb leaderboard build runs/* --out site

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL)

test-unit: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) --unit

# The script that made the embedded data is not part of the package and is checked by itself.
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p mrb
	cd tasks/mini/build && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --explicit-package-bases .
	$(BIN)/python -m pytest $(PARALLEL) --unit

# A warning is an error: a page that no table of contents has, a link or a name that leads nowhere.
docs: $(READY)
	$(BIN)/python -m sphinx -E -W --keep-going -b html -d build/doctrees docs build/docs

# Asks every address on the pages: needs the network.
docs-links: $(READY)
	$(BIN)/python -m sphinx -b linkcheck docs build/docs-links

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
