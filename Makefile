# Plain "=", so that make ignores a HOST or PORT that your shell happens to export.
HOST = 127.0.0.1
PORT = 8080
WORKERS = 1
ARGS =
EFFORT = 20
SECONDS = 180
CLIENTS = 256
# Where pictures of the pages are put.
FOLDER = build/screenshots
QUICK =
REQUEST = GET /health
FUNCTION =
EVENT =
ENV = default
URL =

# The processor to build functions for, which must match Architecture in the template.
ARCH = arm64

# The first usable one is taken; "make PYTHON=/path/to/python" tries only that one.
PYTHON ?= python3.13 python3.12 python3.11 python3

BIN = .venv/bin
# Install exactly the locked files, by their hashes ("make lock" updates them from requirements.txt).
LOCKED = --require-hashes --disable-pip-version-check
# Install a lock file with a Python, and show the name of each package while it is fetched. The status of pip is lost in
# the pipe, so success is the target itself.
install = rm -f $@; { $(1) -m pip install $(LOCKED) -r $(2) && touch $@; } | while read -r word package rest; do \
    case "$$word" in Collecting) printf ' %s' "$${package%%[=<>;]*}" ;; Installing) printf ' ...' ;; esac; \
    done; [ -e $@ ] && echo ' done.'

# One for each environment: with --require-hashes, pip takes no hashes from a constraints file that several could share.
LOCKS = functions/requirements.lock requirements.lock client/requirements.lock local/requirements.lock \
    tests/requirements.lock benchmarks/requirements.lock local/sam-requirements.lock local/audit-requirements.lock

SAM_BIN = .venv-sam/bin
# SAM looks on PATH for the functions' version of Python, and SAM's environment has it.
SAM = PATH="$(CURDIR)/$(SAM_BIN):$$PATH" SAM_CLI_TELEMETRY=0 $(SAM_BIN)/sam
PACKAGES = .aws-sam/packages-$(ARCH)

.DEFAULT_GOAL := help
# A target that was touched before a later step failed must not count as made.
.DELETE_ON_ERROR:
# Two parallel installations into one environment would break each other.
.NOTPARALLEL:
.PHONY: help run client emulate invoke smoke test check lint screenshots bench fuzz soak audit lock format build deploy predeploy clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: .venv/.installed ## Start the API (HOST=127.0.0.1 PORT=8080 WORKERS=1)
	@exec $(BIN)/python -m local.serve --welcome --host '$(HOST)' --port '$(PORT)' --workers '$(WORKERS)'

client: .venv/.installed-client ## Install the command `share`, which uploads and downloads files
	@echo 'Installed: $(CURDIR)/$(BIN)/share --help'

emulate: PORT = 8081
emulate: .venv/.installed-local ## Emulate the deployment locally, from the build if it fits this machine (PORT=8081)
	@exec $(BIN)/python -m local.emulate --port '$(PORT)' $(ARGS)

invoke: .venv/.installed-local ## Invoke one function (REQUEST="GET /health", or FUNCTION=… with EVENT=file)
	@$(BIN)/python -m local.invoke $(if $(FUNCTION),--function '$(FUNCTION)' $(if $(EVENT),--event '$(EVENT)'),--request '$(REQUEST)') $(ARGS)

# make passes TOKEN on in the environment, so it appears on no command line of ours.
smoke: .venv/.installed ## Check a running deployment (URL=https://… TOKEN=…)
	@$(BIN)/python -m local.smoke '$(URL)'

test: .venv/.installed-tests ## Run all tests (ARGS="..." goes to pytest)
	@$(BIN)/python -m pytest $(ARGS)

check: lint ## Run lint and the fast tests, in less than a minute
	@$(BIN)/python -m pytest -m 'not slow' $(ARGS)

lint: .venv/.installed-tests ## Check style, types, layers and template
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/cfn-lint template.yaml

screenshots: .venv/.installed-tests ## Redraw the pictures in docs/, and draw every state of the pages (FOLDER=build/screenshots)
	@PYTHONPATH=client $(BIN)/python -m tests.browser.screenshots '$(FOLDER)'
	@PYTHONPATH=client $(BIN)/python -m tests.client.picture

bench: .venv/.installed-tests .venv-bench/.installed benchmarks/tus/node_modules/.installed ## Compare performance with similar servers (QUICK=1 for a fifth, ARGS="compare p3")
	@for program in nginx wrk; do command -v "$$program" >/dev/null && continue; \
	    [ "$$(id -u)" = 0 ] || { echo 'nginx and wrk are needed (on Debian or Ubuntu: apt install nginx-light wrk).' >&2; exit 1; }; \
	    apt-get update -qq && apt-get install -qq -y --no-install-recommends nginx-light wrk || exit; done
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

fuzz: .venv/.installed-tests ## Run the property and fault tests with more examples (EFFORT=20 times as many)
	@EFFORT=$(EFFORT) $(BIN)/python -m pytest -n 0 tests/properties tests/faults $(ARGS)

soak: .venv/.installed-tests ## Load-test with many clients (SECONDS=180 CLIENTS=256)
	@$(BIN)/python -m tests.load.soak '$(SECONDS)' '$(CLIENTS)'

audit: .venv-audit/.installed ## Check the template with checkov, and locked packages for known vulnerabilities
	@.venv-audit/bin/checkov --config-file .checkov.yaml
	@for lock in $(LOCKS); do .venv-audit/bin/pip-audit --strict --require-hashes --disable-pip -r "$$lock" || exit; done

lock: .venv-audit/.installed ## Update the lock files from the requirements files
	@for lock in $(LOCKS); do \
	    python=3.11; case "$$lock" in */sam-*) python=3.13 ;; esac; \
	    .venv-audit/bin/uv pip compile --python .venv-audit/bin/python --quiet --universal --python-version "$$python" --generate-hashes --no-header \
	        --no-annotate --no-emit-index-url --no-emit-find-links --output-file "$$lock" "$${lock%.lock}.txt" || exit; \
	done

format: .venv/.installed-tests ## Format the code
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

build: .venv-sam/.installed $(PACKAGES)/.installed ## Build the Lambda functions (ARCH=arm64 or x86_64)
	@AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(SAM) validate --lint
	@AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(SAM) build --build-in-source \
	    --parameter-overrides Architecture=$(ARCH)
	@cd .aws-sam/build/UploadFunction && echo "Size of each function for $(ARCH):" \
	    "$$(($$(du -sk . | cut -f 1) / 1024)) MiB, $$(($$(tar -cz . | wc -c) / 1024 / 1024)) MiB packed"

deploy: predeploy build ## Deploy to AWS as samconfig.toml says (ENV=default ARCH=arm64)
	@$(SAM) deploy --config-env '$(ENV)'

predeploy: .venv-sam/.installed
	@$(SAM_BIN)/python -m local.predeploy '$(ENV)' '$(ARCH)'

clean: ## Remove environments, build and caches, but no uploaded files
	@rm -rf .venv .venv-sam .venv-audit .venv-bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -rf .aws-sam build client/dist tests/uppy/node_modules benchmarks/tus/node_modules
	@find shared functions local client tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements.lock .venv/.created
	@echo 'Installing the packages of the API into .venv, which takes about half a minute and happens once:'
	@$(call install,$(BIN)/python,requirements.lock)

.venv/.installed-local: local/requirements.lock .venv/.created
	@echo 'Installing the packages of the API and its emulation:'
	@$(call install,$(BIN)/python,local/requirements.lock)
	@touch .venv/.installed

.venv/.installed-client: client/requirements.lock client/pyproject.toml $(wildcard client/share/*.py client/share/*/*.py) .venv/.created
	@echo 'Installing the client:'
	@$(call install,$(BIN)/python,client/requirements.lock)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --force-reinstall ./client

.venv/.installed-tests: tests/requirements.lock .venv/.created
	@echo 'Installing the packages of the API and its tests:'
	@$(call install,$(BIN)/python,tests/requirements.lock)
	@touch .venv/.installed .venv/.installed-local

# Run each candidate instead of looking it up: a version manager's shim can be on PATH without a Python, and Debian's
# venv module fails without ensurepip. --clear starts over after an interrupted attempt.
.venv/.created:
	@old='' bare=''; \
	for candidate in $(PYTHON); do \
	    version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	        old=$${old:-$$version}; \
	    elif ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then \
	        bare=$${bare:-$$version}; \
	    else \
	        echo "Creating an environment in .venv with Python $$version ..."; \
	        "$$candidate" -m venv --clear .venv && touch $@; exit; \
	    fi; \
	done; \
	if [ -n "$$bare" ]; then \
	    echo "Python $$bare lacks its venv module (on Debian or Ubuntu: apt install python$$bare-venv)." >&2; \
	else \
	    echo "Python 3.11 or newer is needed, found $${old:-none} (on Debian or Ubuntu: apt install python3 python3-venv)." >&2; \
	fi; \
	exit 1

# SAM calls this for each function in the template (BuildMethod: makefile), to fill the folder ARTIFACTS_DIR. All
# functions get the same content, so that it is uploaded once. Compiled code is checked by hash and not by time, since
# Lambda does not keep file times.
build-%: $(PACKAGES)/.installed
	@cp -Rp $(PACKAGES)/. functions shared '$(ARTIFACTS_DIR)'
	@cd '$(ARTIFACTS_DIR)' && rm .installed functions/requirements.* && \
	    find functions shared -name __pycache__ -type d -prune -exec rm -rf {} + && \
	    '$(CURDIR)/$(SAM_BIN)/python' -m compileall -q --invalidation-mode unchecked-hash functions shared

$(PACKAGES)/.installed: functions/requirements.lock .venv-sam/.created
	@echo 'Installing the packages of the functions for $(ARCH) ...'
	@rm -rf $(PACKAGES)
	@$(SAM_BIN)/python -m pip install $(LOCKED) --quiet --no-warn-conflicts --no-compile \
	    -r functions/requirements.lock --target $(PACKAGES) --implementation cp --python-version 3.13 \
	    --platform manylinux2014_$(ARCH:arm64=aarch64) --only-binary=:all:
	@cd $(PACKAGES) && rm -rf bin share
	@find $(PACKAGES) -depth -type d \( -name tests -o -name test -o -name __pycache__ \) -exec rm -rf {} +
	@cd $(PACKAGES) && '$(CURDIR)/$(SAM_BIN)/python' -m compileall -q --invalidation-mode unchecked-hash .
	@touch $@

.venv-bench/.installed: benchmarks/requirements.lock .venv/.created
	@echo 'Installing the servers that the benchmarks compare:'
	@$(BIN)/python -m venv --clear .venv-bench
	@$(call install,.venv-bench/bin/python,benchmarks/requirements.lock)

benchmarks/tus/node_modules/.installed: benchmarks/tus/package-lock.json
	@cd benchmarks/tus && npm ci --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved --loglevel error
	@touch $@

.venv-sam/.installed: local/sam-requirements.lock .venv-sam/.created
	@echo 'Installing the AWS SAM CLI:'
	@$(call install,$(SAM_BIN)/python,local/sam-requirements.lock)

.venv-audit/.installed: local/audit-requirements.lock .venv/.created
	@echo 'Installing the tools that audit and lock packages:'
	@$(BIN)/python -m venv --clear .venv-audit
	@$(call install,.venv-audit/bin/python,local/audit-requirements.lock)

# The functions' version of Python, because it compiles them.
.venv-sam/.created:
	@if ! python3.13 -c '' 2>/dev/null; then \
	    echo 'The functions need Python 3.13: install it so that python3.13 is on PATH.' >&2; \
	elif ! python3.13 -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo 'Python 3.13 lacks its venv module (on Debian or Ubuntu: apt install python3.13-venv).' >&2; \
	else \
	    python3.13 -m venv --clear .venv-sam && touch $@; exit; \
	fi; \
	exit 1
