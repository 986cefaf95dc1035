# Two commands set everything up on a machine with Python 3.11+ and make: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WHEEL_VENV ?= build/wheel-venv
LIGHT_VENV ?= build/light-venv
MEDIAPIPE_VENV ?= .venv-mediapipe
MEDIAPIPE := mediapipe==1.2.2
comma := ,
# tests that drive the site run where Chromium is; then Playwright is installed, too
CHROMIUM := $(shell command -v chromium || command -v chromium-browser)
TESTED := $(VENV)/.installed-test$(if $(CHROMIUM),-browser)
# A machine without an NVIDIA GPU saves 5 GB: make quickstart TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH = $(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url "$(TORCH_INDEX)" "torch>=2.10" "torchvision>=0.25")
EXTRAS := test$(if $(CHROMIUM),$(comma)browser)

.PHONY: docs entries boards quickstart test test-heavy test-all test-mediapipe mediapipe-env lint types wheel-test light-test clean

quickstart: $(VENV)/.installed
	$(BIN)/dfad quickstart --out quickstart

test: $(TESTED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q $(ARGS)

test-heavy: $(TESTED)  ## tests of seconds each: process teams, kills, whole networks, figures
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m "heavy and not slow and not gpu and not weights" $(ARGS)

test-all: $(TESTED)  ## the slow tests too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q --hypothesis-profile thorough -m "not gpu and not weights" $(ARGS)

mediapipe-env: $(MEDIAPIPE_VENV)/.installed  ## MediaPipe brings a second OpenCV, hence an environment of its own

test-mediapipe: $(MEDIAPIPE_VENV)/.installed  ## the mediapipe estimator with its real model, found under $$DFAD_WEIGHTS
	@test -f "$$DFAD_WEIGHTS/face_landmarker.task" || { echo "put face_landmarker.task in a folder and set DFAD_WEIGHTS to it (docs/gaze.md)"; exit 1; }
	OMP_NUM_THREADS=1 $(MEDIAPIPE_VENV)/bin/python -m pytest -q -rs -m "not slow and not gpu" tests/gaze/test_gaze_mediapipe.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

wheel-test: $(VENV)/.installed-dev  ## the built wheel, in a clean environment, from another folder
	rm -rf build/dist $(WHEEL_VENV) build/elsewhere
	$(BIN)/python -m build --wheel --outdir build/dist .
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet build/dist/*.whl
	$(WHEEL_VENV)/bin/python -m pip check
	mkdir -p build/elsewhere
	cd build/elsewhere && ../../$(WHEEL_VENV)/bin/dfad list protocols && ../../$(WHEEL_VENV)/bin/dfad quickstart --small --quiet --out run

light-test: $(VENV)/.installed-dev  ## scores, compare, leaderboard, verify-record, import-predictions where there is no torch
	rm -rf build/light-dist $(LIGHT_VENV) build/light
	$(BIN)/python -m build --wheel --outdir build/light-dist .
	$(PYTHON) -m venv $(LIGHT_VENV)
	$(LIGHT_VENV)/bin/python -m pip install --quiet --only-binary :all: -r requirements-light.txt
	$(LIGHT_VENV)/bin/python -m pip install --quiet --no-deps build/light-dist/*.whl
	mkdir -p build/light
	cd build/light && ../../$(LIGHT_VENV)/bin/python ../../tests/helpers/light_commands.py . ../../tests/fixtures

docs: $(VENV)/.installed-docs  ## the documentation as pages, in build/docs/made; every link is checked
	$(BIN)/python -m docs.builder build/docs

entries: $(VENV)/.installed  ## every number of every committed entry computed again, and the committed boards rendered again
	rm -rf build/boards
	OMP_NUM_THREADS=1 $(BIN)/python -m dfad_bench leaderboard --verify --boards build/boards
	@for board in build/boards/*; do cmp "$$board" "leaderboards/boards/$${board##*/}" || { echo "make boards renders them again"; exit 1; }; done

boards: $(VENV)/.installed  ## the boards of the committed entries
	OMP_NUM_THREADS=1 $(BIN)/python -m dfad_bench leaderboard --verify --boards leaderboards/boards

clean:
	rm -rf build quickstart .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("dfad_bench needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(VENV)/bin/python
	$(TORCH)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(TESTED): pyproject.toml $(VENV)/bin/python
	$(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS)]"
	touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/bin/python
	$(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS),dev]"
	touch $(VENV)/.installed $(TESTED) $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/bin/python
	$(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	touch $(VENV)/.installed $@

$(MEDIAPIPE_VENV)/.installed: pyproject.toml Makefile
	$(PYTHON) -m venv $(MEDIAPIPE_VENV)
	$(MEDIAPIPE_VENV)/bin/python -m pip install --quiet -e ".[test]"
	$(MEDIAPIPE_VENV)/bin/python -m pip install --quiet "$(MEDIAPIPE)"
	touch $@
