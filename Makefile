# guestroom: every command does all of its own set-up; on a bare machine any of them may come first.
VENV_PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit test-inguest lint format bench study fit lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Debian packages, .venv with the guestroom command, the test guest; nothing else
	@tools/setup.sh

run: setup ## the story with two real QEMU guests; ONCE=1 ends by itself
	@$(VENV_PYTHON) -m guestroom.lab.story $(if $(filter 1,$(ONCE)),--once)

test: setup ## lint, types, import contracts and all tests, with real guests
	@tools/test.sh

test-unit: setup ## the tests that need no QEMU and no cgroup
	@tools/test.sh unit

test-inguest: setup ## the tests that need cgroup v2, on a kernel booted for them
	@tools/test.sh inguest

lint: setup ## format, lint, types, import contracts
	@tools/test.sh lint

format: setup ## rewrite the sources in the house's format
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: setup ## benchmarks, each with its baseline in the same run, and their report (benchmarks/REPORT.md)
	@$(VENV_PYTHON) -m pip install -q 'matplotlib>=3.8' || echo "no matplotlib: the report gets no plot"
	@$(VENV_PYTHON) -m benchmarks

study: setup ## measure 153 guests and report what each thing costs (study/report.md), half an hour; QUICK=1: eleven, two minutes
	@.venv/bin/guestroom study run --matrix $(if $(filter 1,$(QUICK)),quick,full) --out study
	@.venv/bin/guestroom study report study/runs.jsonl

fit: setup ## fit the policy `measured` to docs/study/runs.jsonl.gz and renew the pages that show it
	@$(VENV_PYTHON) -m tools.refit

lock: setup ## renew requirements/dev.txt (needs uv)
	@tools/lock.sh

clean: ## what tools left behind; .venv and the cached test guest stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
