# What people type. `make demo` and `make test` set everything up by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# With an NVIDIA driver TensorFlow comes with its CUDA libraries, and everything uses the GPU.
comma := ,
CUDA := $(if $(shell command -v nvidia-smi),$(comma)cuda)
OLDEST := .venv-oldest
OLDEST_PYTHON ?= $(PYTHON)
ADDONS := .venv-addons
ADDONS_PYTHON ?= $(PYTHON)
# What meets Keras. The rest of the library's tests, the single tests skipped, and why, stand in
# tests/keras_versions.py.
KERAS_2_TESTS := $(addprefix tests/tfsegloss/,keras_2 core metrics explain/test_maps.py \
  $(patsubst %,contract/test_%.py,config errors keras label_formats one_class training usage) \
  $(patsubst %,losses/test_%.py,center cross_entropy focal lmp overlap registry weighted))
KERAS_2_OPTIONS := -n 2 --dist worksteal -m "not slow and not full" --unhurried
DEMO := runs/scenes
FULL_PARTS := $(wildcard tests/test_*.py tests/tfsegloss/contract/test_*.py) \
  $(filter-out %/contract/,$(sort $(dir $(wildcard tests/tfsegloss/*/__init__.py)))) \
  tests/models tests/savedmodels tests/train

.PHONY: demo test test-full test-slow test-oldest test-addons test-legacy keras-2-tests mutants recipes lint format wheel clean

demo: $(VENV)/installed
	$(BIN)/python -m train fit --config train/recipes/scenes.yaml
	rm -rf savedmodels/scenes
	$(BIN)/python -m savedmodels export $(DEMO) --output savedmodels/scenes
	$(BIN)/python -m savedmodels evaluate savedmodels/scenes --output $(DEMO)/report

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow and not full"

# All but the slow ones: the grids of which `test` takes the corners.
# A process for each part: TensorFlow keeps what XLA compiled, tens of megabytes a loss, until it
# ends. (5: all tests of the part are slow.)
test-full: lint
	@failed=; for part in $(FULL_PARTS); do \
	  echo "== $$part"; $(BIN)/python -m pytest -n 2 -m "not slow" $$part || \
	    test $$? = 5 || failed="$$failed $$part"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

test-slow: $(VENV)/installed test-oldest test-addons test-legacy
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# The oldest TensorFlow and Keras that setup.cfg admits; that TensorFlow needs Python 3.12 or older:
# make test-slow OLDEST_PYTHON=python3.12
test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest -n 2 -m "not slow and not full" \
	  tests/tfsegloss/contract tests/models/test_training.py tests/train/loop \
	  tests/train/runs/test_configuration.py tests/tfsegloss/keras_2

# Keras 2 by way of TensorFlow 2.15, with TensorFlow Addons; that TensorFlow needs Python 3.11 or
# older: make test-slow ADDONS_PYTHON=python3.11
test-addons: $(VENV)/installed $(ADDONS)/installed
	$(ADDONS)/bin/python -m pytest $(KERAS_2_OPTIONS) --keras-3-python $(BIN)/python \
	  $(KERAS_2_TESTS)

# Keras 2 by way of tf_keras, on today's TensorFlow.
test-legacy: $(VENV)/installed
	TF_USE_LEGACY_KERAS=1 $(BIN)/python -m pytest $(KERAS_2_OPTIONS) $(KERAS_2_TESTS)

keras-2-tests:
	@echo $(KERAS_2_TESTS)

# Plants each fault of a list alone; the tests of its folder must fail.
mutants: $(VENV)/installed
	$(BIN)/python -m tests.mutants

# Three steps of every recipe of the papers and of CamVid, on made-up images.
recipes: $(VENV)/installed
	@for recipe in $$(ls train/recipes/*/*.yaml | grep -v /base_); do \
	  echo "== $$recipe"; $(BIN)/python -m train fit --config $$recipe --dry_run || exit 1; \
	done

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/installed
	rm -rf build dist
	$(BIN)/python -m build --wheel

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[train,plot,lite,test,dev,legacy$(CUDA)]"
	touch $@

$(OLDEST)/installed: setup.cfg pyproject.toml
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip
	$(OLDEST)/bin/python -m pip install --quiet --editable ".[train,plot,lite,test]" \
	  tensorflow==2.18.0 keras==3.15.0
	touch $@

$(ADDONS)/installed: setup.cfg pyproject.toml
	$(ADDONS_PYTHON) -m venv $(ADDONS)
	$(ADDONS)/bin/python -m pip install --quiet --upgrade pip
	$(ADDONS)/bin/python -m pip install --quiet --editable ".[addons,plot,test]"
	touch $@
