# The four things one does here. Each sets up `.venv` by itself; only Python, make and the package registry are needed.
#
#   make demo    a job on three workers, one of them dishonest, judged, paid and proven
#   make test    every test that this machine can run; what is missing is named
#   make check   style, types, layers, house rules, spelling, and the commands in the documentation
#   make bench   ratios measured side by side in one run
#
#   make lock    write requirements/*.txt anew         make clean   remove everything that can be made again

VENV := .venv
RUN := $(VENV)/bin/python -m
PYTEST_ARGS ?= -q -n auto --dist worksteal

.PHONY: demo test check bench lock clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.base
	$(VENV)/bin/tally demo

test: $(VENV)/.dev
	$(RUN) pytest $(PYTEST_ARGS) --ignore=tests/docs

check: $(VENV)/.dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy --strict src
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) codespell_lib
	$(RUN) pytest $(PYTEST_ARGS) tests/test_tidy.py tests/docs

bench: $(VENV)/.dev
	$(RUN) bench

$(VENV)/.base: requirements/build.txt requirements/base.txt pyproject.toml scripts/setup-venv
	scripts/setup-venv $(VENV) base
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt
	scripts/setup-venv $(VENV) dev
	@touch $@

# The settings of the machine are kept out: no configuration file, no index, no local folder of wheels may leave a trace.
COMPILE = env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL -u UV_INDEX -u UV_FIND_LINKS \
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(RUN) uv pip compile pyproject.toml --quiet --no-config --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links $(LOCK_ARGS)

# LOCK_ARGS=--upgrade takes newer versions; without it only what pyproject.toml demands is changed.
lock: $(VENV)/.dev
	$(COMPILE) --output-file requirements/base.txt
	$(COMPILE) --extra dev --constraint requirements/base.txt --output-file requirements/dev.txt
	$(COMPILE:pyproject.toml=) --group build --output-file requirements/build.txt

clean:
	rm -rf $(VENV) build dist tally-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
