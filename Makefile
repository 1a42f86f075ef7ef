# Two commands set everything up by themselves on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
VENV := .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
# Byte-code saves every worker of Ray seconds; Ray's own authentication is chosen by whoever starts it.
unexport PYTHONDONTWRITEBYTECODE
unexport RAY_ADDRESS
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test check test-failure test-feast bench clean lock

$(VENV)/ready: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@echo "installing $$(grep -c '==' requirements.lock) packages into $(VENV): once, some minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --requirement requirements.lock | \
		awk '/^Collecting/ && ++n % 20 == 0 { print "  " n " fetched"; fflush() } /^Installing/ { print "  unpacking"; fflush() }'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/ready  ## the whole life of a model, on embedded parts
	$(BIN)/gnomon demo

test: $(VENV)/ready  ## everything but the slow suites
	$(BIN)/python -m pytest -m "not failure" -q --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: $(VENV)/ready  ## style, types, docstrings, layers
	$(BIN)/ruff check platform tests jobs serve_apps
	$(BIN)/ruff format --check platform tests jobs serve_apps
	$(BIN)/mypy
	$(BIN)/pydoclint --quiet platform/gnomon
	$(BIN)/lint-imports

test-failure: $(VENV)/ready  ## kills, freezes, cuts and fills
	$(BIN)/python -m pytest -m failure -q

test-feast: $(VENV)/ready  ## our stores behind Feast's plugin interface, in an environment with Feast
	$(BIN)/python -m tests.feast_suite

bench: $(VENV)/ready  ## ratios against rivals, each in an environment of its own
	$(BIN)/python -m tests.benchmarks

lock: ## write requirements.lock from the installed environment
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude gnomon > requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis gnomon-demo
