# Everything from a fresh clone: the virtual environment is made at first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help demo hack test coverage lint format assets clean

help:
	@echo "make demo    train PPO in Summarize-v0, evaluate, write runs/demo/report.html (about 3 minutes, offline)"
	@echo "make hack    the same without the KL term: watch gold fall while the score rises, in runs/hack/report.html"
	@echo "make test    lint, types and the whole test suite"
	@echo "make coverage  the suite with branch coverage, which takes longer"
	@echo "make lint    ruff and mypy (mypy on an installed tree)"
	@echo "make format  ruff format and import order"
	@echo "make assets  rebuild the embedded tokenizer and weights (up to 2 hours)"

# The one range without an upper end that would fetch gigabytes is torch's: constraints.txt pins the CPU build.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# A folder of version 0.1 kept no list of its files, so no command writes to it: it is moved as a whole.
define moved_if_old
	@if [ -e $(1)/prefgym.json ] && [ ! -e $(1)/prefgym-files.jsonl ]; then \
		n=1; while [ -e $(1).previous-$$n ]; do n=$$((n + 1)); done; \
		mv $(1) $(1).previous-$$n && echo "the old run in $(1) is now in $(1).previous-$$n"; \
	fi
endef

demo: $(VENV)/.installed
	$(call moved_if_old,runs/demo)
	$(BIN)/prefgym train --config tldr-ppo --output runs/demo --overwrite

hack: $(VENV)/.installed
	$(call moved_if_old,runs/hack)
	$(BIN)/prefgym train --config hack --output runs/hack --overwrite

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

coverage: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov --cov-report=term:skip-covered --cov-fail-under=85

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build && $(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/tree .
	cd build/tree && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p prefgym

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

assets: $(VENV)/.installed
	$(BIN)/prefgym build-assets --output runs/assets --install models/embedded

clean:
	rm -rf build dist runs $(VENV)
