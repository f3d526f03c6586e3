# Commands for users and developers; `make` alone lists them.
#
# Each sets up what it needs in a virtual environment of its own, $(VENV), from the
# interpreter $(PYTHON), and reuses it.  The package is installed in editable mode: Python and
# template edits are live; a change of the build files or of a kernel installs again.

PYTHON ?= python3
VENV   ?= build/venv
# Worker processes of `make test`, and more arguments for pytest, the exporter or the benchmark.
JOBS   ?= 2
ARGS   ?=

PY  := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Without build isolation the build tools stay in the environment, for quick rebuilds; they are
# those of pyproject.toml, and cmake and ninja where the machine has none.
BUILD_TOOLS  := 'scikit-build-core>=0.10' 'cython>=3.1'
EDITABLE     := --no-build-isolation --config-settings=build-dir='build/develop-{wheel_tag}'
REBUILD      := --config-settings=editable.rebuild=true
BUILD_INPUTS := pyproject.toml CMakeLists.txt aidge_quant/_version.py _kernels \
                $(wildcard $(addprefix _kernels/,*.pyx *.pxd *.h *.py host/*))

.PHONY: help develop test export bench bench-cortex-m lint clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'make export MODEL=net.onnx CALIBRATION=data.npz NAME=net [OUT=folder] [ARGS="--effort high"]'
	@echo '    options: $(VENV)/bin/aidge-quant export --help'
	@echo 'make test ARGS="-k Conv"    PYTHON=python3.12 chooses the interpreter of a new $(VENV)'

develop: $(VENV)/.ready ## install for development: test and lint tools, kernels rebuilt on import
	@echo '== installing aidge_quant for development'
	@$(PIP) install $(EDITABLE) $(REBUILD) --editable '.[test,dev]'
	@touch $(VENV)/.develop $(VENV)/.run $(VENV)/.test $(VENV)/.lint
	@echo 'ready: . $(VENV)/bin/activate'

test: $(VENV)/.test ## run the tests, without those marked slow
	$(PY) -m pytest -m 'not slow' -n $(JOBS) $(ARGS)

export: $(VENV)/.run ## quantize the digits example (or MODEL=...), write its C, run and compare
ifeq ($(strip $(MODEL)$(CALIBRATION)),)
	@$(PY) export_examples/digits/export.py $(ARGS)
else
	@if [ -z '$(MODEL)' ] || [ -z '$(CALIBRATION)' ] || [ -z '$(NAME)' ]; then \
		echo 'make export: expected MODEL=net.onnx CALIBRATION=data.npz NAME=net,' \
			'came MODEL=$(MODEL) CALIBRATION=$(CALIBRATION) NAME=$(NAME)' >&2; \
		exit 2; \
	fi
	@$(VENV)/bin/aidge-quant export '$(MODEL)' --calibration '$(CALIBRATION)' \
		--name '$(NAME)' -o '$(or $(OUT),build/export/$(NAME))' $(ARGS)
endif

bench: $(VENV)/.run ## time quantization, the golden model and the C
	@$(PY) benchmarks/run.py $(ARGS)

bench-cortex-m: $(VENV)/.test ## count instructions, flash and RAM of the C on emulated Cortex-M
	@$(PY) benchmarks/cortex_m/run.py $(ARGS)

lint: $(VENV)/.lint ## check style, format, types and spelling
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell

clean: ## remove everything that was built, the environment too
	rm -rf build dist

# --- The environment: one stamp per step, written when the step has succeeded.

$(VENV)/.ready:
	@$(PYTHON) -c '' || { \
		echo 'make: $(PYTHON) does not run; name a Python >= 3.10: make PYTHON=python3.12' >&2; \
		exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "make: $(PYTHON) is $$($(PYTHON) -V), expected 3.10 or newer;" \
			'name one: make PYTHON=python3.12' >&2; \
		exit 2; }
	@command -v "$${CC:-cc}" >/dev/null || { \
		echo "make: no C compiler ($${CC:-cc}); install gcc or clang, or set CC" >&2; \
		exit 2; }
	@echo '== making the environment $(VENV)'
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo 'make: $(PYTHON) cannot make a virtual environment; install its venv module' \
			'(Debian, Ubuntu: apt install python3-venv)' >&2; \
		rm -rf $(VENV); exit 2; }
	@$(PIP) install 'pip>=23' $(BUILD_TOOLS)
	@$(PIP) install 'pip>=23' $$($(PY) -c \
		'from scikit_build_core.build import get_requires_for_build_editable as r; print(*r())')
	@touch $@

$(VENV)/.run: $(VENV)/.ready $(BUILD_INPUTS)
	@echo '== building and installing aidge_quant in $(VENV)'
	@$(PIP) install $(EDITABLE) $(if $(wildcard $(VENV)/.develop),$(REBUILD)) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.ready $(BUILD_INPUTS)
	@echo '== building and installing aidge_quant and what its tests need in $(VENV)'
	@$(PIP) install $(EDITABLE) $(if $(wildcard $(VENV)/.develop),$(REBUILD)) --editable '.[test]'
	@touch $(VENV)/.run $@

$(VENV)/.lint: pyproject.toml | $(VENV)/.run
	@echo '== installing the lint tools in $(VENV)'
	@$(PIP) install $(EDITABLE) $(if $(wildcard $(VENV)/.develop),$(REBUILD)) --editable '.[dev]'
	@touch $(VENV)/.run $@
