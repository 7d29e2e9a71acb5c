# `make serve` and `make test` are the two commands to know; `make help` lists the others.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
IMAGE ?= rnnserve:0.1.0
PYTHON_IMAGE ?= python:3.11-slim-bookworm
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := pyproject.toml constraints.txt
PEERS := fastapi litserve mosec mlserver

.PHONY: help serve test train-tools check format docker bench bench-peers clean

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

serve: $(VENV)/.installed  ## start the service: make serve [HOST=127.0.0.1] [PORT=8000] [ARGS="--workers 2"]
	$(BIN)/rnnserve serve --host $(HOST) --port $(PORT) $(ARGS)

test: $(VENV)/.installed-dev  ## run the tests: make test [ARGS="-k sentiment"]
	$(BIN)/python -m pytest $(ARGS)

train-tools: $(VENV)/.installed-train  ## add PyTorch and what training needs to .venv

check: $(VENV)/.installed-dev  ## formatting, lint and types, as pre-commit and CI run them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## rewrite files in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docker:  ## build the serving image: make docker [IMAGE=rnnserve:0.1.0] [PYTHON_IMAGE=...]
	docker build --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) -t $(IMAGE) .

bench: $(VENV)/.installed-dev  ## measure the budgets on this machine: make bench [ARGS="--seconds 5"]
	$(BIN)/rnnserve bench $(ARGS)

bench-peers: $(VENV)/.installed-dev $(PEERS:%=benchmarks/.venvs/%/.installed)  ## the same model behind other servers
	$(BIN)/rnnserve bench peers $(ARGS)

clean:  ## delete the environment and every cache
	rm -rf $(VENV) benchmarks/.venvs benchmarks/.models build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One environment for both commands; a stamp file says what is in it, so a second call installs nothing.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rnnserve needs Python 3.11 or newer, and '$(PYTHON)' is not ($$($(PYTHON) --version 2>&1)). Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(LOCK) | $(BIN)/python
	@echo 'Installing what serving needs into $(VENV) (once; no torch) ...'
	@$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-train: $(LOCK) | $(BIN)/python
	@echo 'Installing the training tools into $(VENV) (once; with torch) ...'
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: $(LOCK) | $(BIN)/python
	@echo 'Installing the test and training tools into $(VENV) (once; with torch) ...'
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(VENV)/.installed $(VENV)/.installed-train $@

# Each server under comparison has an environment of its own: their requirements exclude each other.
benchmarks/.venvs/%/.installed: benchmarks/peers/requirements/%.txt
	@echo 'Installing $* into $(@D) (once) ...'
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --requirement $<
	@touch $@
