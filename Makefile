# Plain "=", so that a HOST or PORT which a shell happens to export is not taken for a choice.
HOST = 127.0.0.1
PORT = 8080
WORKERS = 1
ARGS =

# Tried in this order, the first usable one wins; "make PYTHON=/path/to/python" leaves only that one.
PYTHON ?= python3.13 python3.12 python3.11 python3

BIN = .venv/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
# Two installations at once in one environment would break each other.
.NOTPARALLEL:
.PHONY: help run test lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: .venv/.installed ## Start the API (HOST=127.0.0.1 PORT=8080 WORKERS=1)
	@exec $(BIN)/python -m local.serve --host '$(HOST)' --port '$(PORT)' --workers '$(WORKERS)'

test: .venv/.installed-tests ## Run the tests (ARGS="..." goes to pytest)
	@$(BIN)/python -m pytest $(ARGS)

lint: .venv/.installed-tests ## Check style, types and the layers
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports --no-logo

format: .venv/.installed-tests ## Rewrite the code in the project's style
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

clean: ## Remove the environment and every cache; uploaded files stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find shared functions local tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements.txt functions/requirements.txt .venv/.created
	@echo 'Installing what the API needs ...'
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

.venv/.installed-tests: tests/requirements.txt requirements.txt functions/requirements.txt .venv/.created
	@echo 'Installing what the API and its tests need ...'
	@$(PIP_INSTALL) -r tests/requirements.txt
	@touch .venv/.installed $@

# A candidate is run rather than looked up: a version manager's shim may be on PATH with no Python behind it, and
# Debian ships a venv module which fails for want of ensurepip. --clear starts over after an interrupted attempt.
.venv/.created:
	@old='' bare=''; \
	for candidate in $(PYTHON); do \
	    found=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	        old=$${old:-$$found}; \
	    elif ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then \
	        bare=$${bare:-$$found}; \
	    else \
	        "$$candidate" -m venv --clear .venv && touch $@; exit; \
	    fi; \
	done; \
	if [ -n "$$bare" ]; then \
	    echo "Python $$bare lacks its venv module (on Debian or Ubuntu: apt install python$$bare-venv)." >&2; \
	else \
	    echo "Python 3.11 or newer is needed, found $${old:-none} (on Debian or Ubuntu: apt install python3 python3-venv)." >&2; \
	fi; \
	exit 1
