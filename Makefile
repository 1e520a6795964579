# domops: `make help` says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.made
PACKAGE_LISTS := .ci/debian/build.txt .ci/debian/lab.txt $(wildcard tests/lab/xen/packages.txt)

.PHONY: help
help: ## Say what each target does
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: setup
setup: debian $(STAMP) ## Install what is missing from Debian and make the virtual environment

.PHONY: debian
debian:
	@.ci/debian/install $(PACKAGE_LISTS)

$(STAMP): pyproject.toml
	@$(MAKE) --no-print-directory debian
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --upgrade pip
	$(PYTHON) -m pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: demo
demo: setup ## Show the whole story on real guests (KEEP=1 leaves it running)
	$(PYTHON) -m tests.demo $(if $(KEEP),--keep)

.PHONY: test
test: setup ## Build the labs once, then run every test
	$(PYTHON) -m tests.lab.guest build
	$(PYTHON) -m tests.lab.xen build
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-thorough} $(PYTHON) -m pytest $(ARGS)

.PHONY: lint
lint: setup ## Check style, format and the import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

.PHONY: types
types: setup ## Check the types, tests included
	$(VENV)/bin/mypy

.PHONY: schema
schema: setup ## Write the JSON Schemas of the manifests into schemas/
	$(VENV)/bin/domops schema schemas

.PHONY: docs
docs: setup ## Write the generated pages of docs/reference/
	$(PYTHON) docs/generate.py

.PHONY: bench
bench: setup ## Measure speed, each as a ratio to its floor
	$(PYTHON) -m bench

.PHONY: soak
soak: setup ## Keep a controller in a storm for an hour (MINUTES=10 SEED=n) and see what it leaks
	$(PYTHON) -m tests.lab.guest build
	$(PYTHON) -m tests.soak --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

.PHONY: matrix
matrix: setup ## Kill a controller at every instant of every step, and see what the next one makes of it
	$(PYTHON) -m tests.lab.guest build
	$(PYTHON) -m tests.matrix

.PHONY: fuzz
fuzz: setup ## Let a fuzzer look for text that breaks a door (SECONDS=600 a door)
	$(PYTHON) -m tests.fuzz --seconds $(or $(SECONDS),600)

.PHONY: mutants
mutants: setup ## Plant bugs in planner and effects, one by one: each must be caught
	$(PYTHON) -m tests.mutants

.PHONY: verify
verify: lint types schema docs ## All of what must hold before a merge
	@git diff --exit-code -- schemas docs || \
	  { echo 'the generated files above differ from the committed ones: commit them'; exit 1; }
	@new=$$(git ls-files --others --exclude-standard -- schemas docs); [[ -z $$new ]] || \
	  { echo "generated or new, and not committed: $$new"; exit 1; }
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory fuzz SECONDS=60

.PHONY: xen-lab
xen-lab: setup ## Build and start the Xen dom0 for trying things by hand
	$(PYTHON) -m tests.lab.xen build
	$(PYTHON) -m tests.lab.xen up

.PHONY: xen-lab-down
xen-lab-down: setup ## Stop the Xen dom0 that xen-lab started
	$(PYTHON) -m tests.lab.xen down

.PHONY: clean
clean: ## Remove what builds and tests leave; the labs' cache in .cache/ stays
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find reconciler tests docs bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
