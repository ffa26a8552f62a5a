# One door for tools: what CI runs is only these targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
STARTED := $(shell date +%s)
SHIPPED := serve_app/models/pretrained/mobilenetv2_celebv2

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit run check format train bench clean

help:  ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(INSTALLED)  ## Install into .venv, fetch the face-mesh networks and the demo's portrait
	$(BIN)/deepfake-serve fetch-weights --portrait

demo: setup  ## Start the service, score 30 frames of a face (or FRAMES=dir), stop it
	$(BIN)/deepfake-serve demo --since $(STARTED) $(if $(FRAMES),--frames "$(FRAMES)")

test: setup  ## Run all tests; those that need OpenFace or a GPU are skipped with a reason where it is absent
	$(BIN)/pytest --cov --cov-fail-under=90

unit: setup  ## Run the tests that need neither Ray nor a training: seconds
	$(BIN)/pytest tests/unit -m "not slow"

run: setup  ## Start the service on this machine; HOST and PORT are honoured
	exec $(BIN)/deepfake-serve run

check: $(INSTALLED)  ## ruff format, ruff, mypy --strict
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(INSTALLED)  ## Format the code and mend what ruff can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

train: setup  ## Train the shipped detectors again, into build/models; fail if one is worse (10 to 30 minutes)
	$(BIN)/deepfake-serve train build/models --reproduce $(SHIPPED)/1
	$(BIN)/deepfake-serve train build/models --reproduce $(SHIPPED)/2

bench: setup  ## Measure everything, in about an hour, into build/bench.json and docs/performance.md
	$(BIN)/python -m benchmarks --output build/bench.json $(if $(FRAMES),--openface-frames "$(FRAMES)")
	$(BIN)/python -m benchmarks --render build/bench.json

clean:  ## Remove the environment and what was built; downloads stay in the cache
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .coverage
