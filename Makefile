# Every target sets up what it needs. ARGS goes to the command behind it: make run ARGS="--port 8100"
# Commands run by "python -m": the scripts in .venv/bin name the folder they were installed in, which may have moved.

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The first interpreter on the PATH that is new enough, whatever it is called.
find_python = for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	done

.DEFAULT_GOAL := help
.PHONY: help run test check mutants chaos test-vllm

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(RUN_STAMP) ## Start Forebay on this machine: Redis, simulated ranks, their agents, two gateways
	@exec $(BIN)/python -m forebay up $(ARGS)

test: $(DEV_STAMP) ## Run the whole test suite, in two processes (ARGS="-n 0" for one)
	@exec $(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

check: $(DEV_STAMP) ## Lint, check the formatting, check the types, look for known vulnerabilities of what is installed
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/python -m tests.dependency_audit

mutants: $(DEV_STAMP) ## Mutate the Lua scripts one line at a time; each mutant must be caught
	@exec $(BIN)/python -m tests.mutants $(ARGS)

chaos: $(DEV_STAMP) ## Break everything but the promises: real processes under load, faults from a seed (ARGS="--long" for half an hour)
	@exec $(BIN)/python -m tests.chaos $(ARGS)

test-vllm: $(DEV_STAMP) ## Check Forebay before real vLLM engines (installs some 3 GB into .vllm); writes docs/real_vllm.md unless ARGS picks some
	@$(BIN)/python -m tests.real_engine.install
	@exec $(BIN)/python -m pytest tests/real_engine $(or $(ARGS),--report docs/real_vllm.md)

$(RUN_STAMP): pyproject.toml
	@$(find_python); \
	if [ -z "$$python" ]; then \
		echo "Forebay needs Python 3.11 or newer; found $$(python3 --version 2>&1 || echo none)" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) (first time, or pyproject.toml changed) ..."; \
	"$$python" -m venv $(VENV)
	@$(PIP_INSTALL) --editable .
	@touch $@

# After RUN_STAMP, so that two targets asked for at once never install at once.
$(DEV_STAMP): $(RUN_STAMP)
	@echo "Adding the development tools to $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@
