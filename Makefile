# Every target takes ARGS="…": what follows the command it stands for.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3 python3.13 python3.12 python3.11
ARGS   ?=

# where it is set, as in many containers, every process would compile all of torch again: seconds each
unexport PYTHONDONTWRITEBYTECODE

# ARGS="+study=…" takes the place of a target's own study
study   = $(if $(findstring +study=,$(ARGS)),,+study=$(1))

.DEFAULT_GOAL := help
.PHONY: help setup run test check matrix sweep compare ui bench pictures reports clean
.SUFFIXES:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  each takes ARGS="…", for instance: make run ARGS="schedule.target=0.4 finetune.epochs=8"'

setup: $(VENV)/.ready ## install everything into .venv (the other targets do it when it is needed)
	@echo "$(VENV) is ready"

run: $(VENV)/.ready ## prune, fine-tune, quantize, measure: +study=quickstart, or the +study= in ARGS
	@$(BIN)/secateur run $(call study,quickstart) $(ARGS)

sweep: $(VENV)/.ready ## many such runs: +study=prune_rates, or the +study= in ARGS
	@$(BIN)/secateur run -m $(call study,prune_rates) $(ARGS)

compare: $(VENV)/.ready ## set runs side by side
	@$(BIN)/secateur compare $(ARGS)

ui: $(VENV)/.ready ## open MLflow's pages on 127.0.0.1
	@$(BIN)/secateur ui $(ARGS) || [ $$? -eq 130 ]

bench: $(VENV)/.ready ## hold secateur against its goals; one part: ARGS=store (hours for all)
	@$(BIN)/python experiments/bench.py $(ARGS)

pictures: $(VENV)/.ready ## draw the pictures of docs/ anew
	@$(BIN)/python docs/draw.py $(ARGS)

reports: $(VENV)/.ready ## fill in the tables of experiments/reports/ anew
	@$(BIN)/python experiments/tables.py

test: $(VENV)/.ready ## run the tests
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.ready ## formatting, lint, types, who may import whom, known vulnerabilities
	@$(BIN)/ruff format --check $(ARGS) .
	@$(BIN)/ruff check $(ARGS) .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python .ci/audit.py

matrix: $(VENV)/.ready ## the doors to other libraries, with the oldest and the newest versions allowed
	@$(BIN)/python experiments/matrix.py $(ARGS)

clean: ## remove .venv, caches and builds; outputs/ stays
	@rm -rf $(VENV) .venv-matrix dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find src tests experiments -name __pycache__ -prune -exec rm -rf {} +

# uv, since pip may prefer a CPU build of torch from a local folder, with which no torchvision works
$(VENV)/.ready: pyproject.toml constraints.txt
	@python=$$(for python in $(PYTHON); do \
	    $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	        && echo $$python && break; done); \
	if [ -z "$$python" ]; then \
	    echo "secateur needs Python 3.11, 3.12 or 3.13 with venv, none among: $(PYTHON); install one or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "setting up $(VENV) with $$($$python --version) (minutes, about 6 GB) …" >&2; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install $(shell [ -t 2 ] || echo --quiet) --python $(BIN)/python -c constraints.txt -e '.[lab,nncf,openvino,ncnn,pnnx,ray,slurm,search,dev]' opencv-python-headless
	@touch $@
