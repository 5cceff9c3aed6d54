# Everything happens in .venv; scripts/setup.sh does the work and does nothing when nothing has changed.
# ARGS are handed on, e.g.  make report ARGS="--dataset shapes --within 2m"  or  make test ARGS="-k schedule".

PYTHON ?= python3
ARGS ?=

.PHONY: help setup report check test lint types lock clean

help:
	@echo 'make report   set everything up, then train, explain, write the report (ARGS="--dataset shapes --within 2m")'
	@echo 'make check    lint, types and the quick tests: before each commit'
	@echo 'make test     set everything up, then run all tests (ARGS="-k schedule")'
	@echo 'make setup    only set up: .venv, locked packages, system libraries (PYTHON=python3.12 chooses the interpreter)'
	@echo 'make lint     ruff'
	@echo 'make types    mypy'
	@echo 'make lock     write requirements.lock anew from pyproject.toml (ARGS=--upgrade takes the newest versions)'
	@echo 'make clean    remove .venv and caches; runs and reports stay'

setup:
	@PYTHON='$(PYTHON)' sh scripts/setup.sh

report: setup
	@.venv/bin/python -m reports.build --all $(ARGS)

check: setup
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q -m 'not slow' --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

test:
	@PYTHON='$(PYTHON)' sh scripts/setup.sh --for-tests
	@.venv/bin/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: setup
	@.venv/bin/ruff check . $(ARGS)

types: setup
	@.venv/bin/mypy $(ARGS)

lock:
	@PYTHON='$(PYTHON)' sh scripts/lock.sh $(ARGS)

clean:
	rm -rf .venv build dist .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
