# The front door. Every target is a line over a verb; what depends on what is the plan's job, not make's.
#
# `make ami` prints the AMI's id alone on stdout: id=$(make ami). All else goes to stderr.

RECIPE ?= recipes/quickstart.toml
INSTANCE_TYPE ?=
ARCH ?=
REGION ?=
SECONDS ?= 60

# Relative, all of it: the checkout may stand in a path with a space in it.
factory := .venv/bin/ami-factory
python := .venv/bin/python
region := $(if $(REGION),--region $(REGION))
variants := $(foreach type,$(INSTANCE_TYPE),--instance-type $(type)) $(foreach arch,$(ARCH),--arch $(arch))
pytest := $(python) -m pytest

MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help setup develop ami plan test test-full check bench fuzz golden recipes region-start region-ship region-stop article requirements clean

help: ## Show this list.
	@echo "Variables: RECIPE=$(RECIPE) INSTANCE_TYPE=$(INSTANCE_TYPE) ARCH=$(ARCH) REGION=$(or $(REGION),local)"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

setup: ## Install what the factory needs: packages, subordinate ids, .venv. Nothing to do: nothing done.
	@scripts/setup

develop: ## The same, and what the tests and checks need.
	@scripts/setup develop

ami: setup ## Build RECIPE and print the AMI's id alone on stdout.
	@$(factory) build $(region) $(variants) $(RECIPE)

plan: setup ## Show what `make ami` would do, and why.
	@$(factory) plan $(region) $(variants) $(RECIPE)

test: develop ## Run every test but the slow ones, in parallel.
	@$(pytest) -n auto -m "not slow and not live"

test-full: develop ## Run the slow tests too (minutes).
	@$(pytest) -n auto --dist loadgroup -m "not live"

check: develop ## Format, lint, types, unit tests: under a minute.
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@$(pytest) -n auto -m "not host and not slow and not live" tests/unit

bench: ami develop ## Measure, and print the ratios (minutes; best on a quiet machine).
	@$(python) -m tests.bench

fuzz: develop ## Fuzz the readers of bundles, each for SECONDS (60).
	@test -d .cache/atheris || $(python) -m pip install --quiet --no-deps --target .cache/atheris atheris==3.0.0
	@PYTHONPATH=.cache/atheris $(python) -m tests.fuzz --seconds $(SECONDS)

golden: develop ## Rewrite the golden files; review the diff, and say in the commit why keys moved.
	@$(pytest) -n auto tests/golden tests/cli --rewrite-golden

recipes: setup ## Check every recipe; plan and build those whose packages can be had here.
	@scripts/recipes

region-start: setup ## Start the local region.
	@$(factory) region start

region-ship: setup ## Offer the web server's AMI in the local region: amazon's, public.
	@$(factory) region ship recipes/web-server.toml

region-stop: setup ## Stop the local region; what is registered stays.
	@$(factory) region stop

article: setup ## Walk through EC2's first years, command by command: three machines boot (minutes).
	@scripts/article

requirements: develop ## Write requirements.lock from the environment as it is.
	@sed -n '/^#/p' requirements.lock > .cache/requirements.lock
	@$(python) -m pip freeze --local --all --exclude pip --exclude-editable | LC_ALL=C sort --ignore-case >> .cache/requirements.lock
	@mv .cache/requirements.lock requirements.lock

clean: ## Remove the virtual environment and the caches of the checkout (the store stays: ami-factory store gc).
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis ami_factory.egg-info
