# `make demo` and `make test` need Python 3.11 or newer and nothing else; both set up what is missing.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo run test chaos lint audit lock vendor screenshots bench bench-growth bench-rendering

demo: .venv/installed
	@$(BIN)/python manage.py demo $(if $(ONCE),--once)

run: .venv/installed
	@$(BIN)/python manage.py up $(ARGS)

test: .venv/installed-dev
	@$(BIN)/python -m pytest $(ARGS)

# Random faults for minutes; PostgreSQL where TEST_POSTGRES_URL names one. ARGS='--seed 7 --minutes 3 --database sqlite'
chaos: .venv/installed-dev
	@$(BIN)/python -m tests.chaos $(ARGS)

# Mails per second beside what a user would pick instead, latency, a distant relay: about twenty minutes; writes
# docs/benchmarks.md. PostgreSQL where TEST_POSTGRES_URL names one. ARGS='throughput --only rootmail-sqlite --rounds 1'
bench: .venv/installed-dev
	@$(BIN)/python -m bench $(ARGS)

# The same with more workers, with a million old deliveries, and for a long time: an hour or more.
bench-growth: .venv/installed-dev
	@$(BIN)/python -m bench growth $(ARGS)

# What rendering a mail and writing its MIME cost, in microseconds.
bench-rendering: .venv/installed-dev
	@$(BIN)/python -m bench.rendering

lint: .venv/installed-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/bandit --quiet -c pyproject.toml -r .

# Is a vulnerability known of what requirements.lock names?
audit: .venv/audit/installed
	@$(BIN)/python .ci/audit.py .venv/audit/bin/pip-audit requirements.lock

# What production installs: the pins of requirements.txt, what these need, and the hashes of every file of each version.
# Versions that the lock names already stay; `make lock UPGRADE=--upgrade` takes the newest that the pins allow.
lock: .venv/lock/installed
	@.venv/lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command 'make lock' $(UPGRADE) requirements.txt --output-file requirements.lock

# Needs npm. What it writes is committed.
vendor: .venv/installed
	@$(BIN)/python -m rootmail.vendor

# Needs chromium, or TEST_CHROMIUM that names it.
screenshots: .venv/installed-dev
	@TEST_CHROMIUM=$${TEST_CHROMIUM:-$$(command -v chromium)} $(BIN)/python -m pytest tests/screenshots.py $(ARGS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'rootmail needs Python 3.11 or newer: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@echo 'Making the virtual environment in .venv'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo 'python3 cannot make a virtual environment (on Debian: apt install python3-venv)' >&2; exit 1; }

.venv/installed: requirements.txt | .venv/bin/python
	@echo 'Installing requirements.txt (about a minute, once)'
	@$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@echo 'Installing requirements-dev.txt (about half a minute, once)'
	@$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

# Tools with dependencies of their own, kept apart from ours.
.venv/audit/installed: Makefile | .venv/bin/python
	@$(BIN)/python -m venv .venv/audit && .venv/audit/bin/python -m pip install --quiet pip-audit==2.10.1
	@touch $@

.venv/lock/installed: Makefile | .venv/bin/python
	@$(BIN)/python -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv==0.13.9
	@touch $@
