# Two commands matter: `make demo` shows the method on this machine, `make test` checks the code.
# Both make what they need in .venv; nothing outside the folder is touched.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Without an NVIDIA GPU, a CPU build of torch comes first, or pip would fetch gigabytes of CUDA. A
# `+cpu` build is taken where pip finds one; else pip gets TORCH_INSTALL, with PyTorch's own index.
TORCH ?= torch==2.13.0
TORCH_INSTALL ?= $(TORCH) --index-url https://download.pytorch.org/whl/cpu

# Options of pytest. One file stays in one process, so that its fixtures are made once.
PYTEST_ARGS ?= -n 2 --dist loadfile

.NOTPARALLEL:
.PHONY: demo install test check format lint types unit integration test-slow notebooks bench clean

demo: install
	$(BIN)/serl demo

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if nvidia-smi -L >/dev/null 2>&1; then \
	    echo "NVIDIA GPU found: pip chooses the build of torch"; \
	elif $(BIN)/python -c "import torch" >/dev/null 2>&1; then \
	    echo "torch is there already"; \
	else \
	    $(BIN)/python -m pip install "$(TORCH)+cpu" || $(BIN)/python -m pip install $(TORCH_INSTALL); \
	fi
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@

test: install check

check: lint types unit integration

format:
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint:
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types:
	$(BIN)/ty check

unit:
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow and not gpu" tests/unit

integration:
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow and not gpu" tests/integration

test-slow: install
	$(BIN)/python -m pytest -m "slow and not gpu"

notebooks: install
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=600 notebooks

bench: install
	$(BIN)/python benchmarks/sandbox.py --results benchmarks/RESULTS.md

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
