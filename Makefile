# Every target installs what it needs first. This takes Python 3.11.4 to 3.13 and make.

PYTHON ?= python3
PY := .venv/bin/python
# The papers on the synthetic corpus. Each is a list of commands that skips completed ones, so an
# interrupted run resumes. All three share a folder, and so their trainings and one report.
DEMO := --data corpus --out results/demo

.PHONY: help install install-light demo demo-sweep demo-arxiv2017 demo-agf2018 demo-papers clean-demo
.PHONY: ismir2018 arxiv2017 agf2018 sid test test-all test-jax test-torch lint
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / {printf "%-27s %s\n", $$1, $$2}' Makefile

install: .venv/installed  ## make .venv, with the dependencies and this package

install-light: .venv/installed-onnx  ## make .venv with what an .onnx file needs, without TensorFlow

ISMIR2018 := reproduce.py ismir2018 $(DEMO) --train demo --tags demo --targets demo_target \
	--epochs 30 --siamese-learning-rate 0.03

demo: .venv/installed  ## reproduce ismir2018 on synthetic music
	$(PY) $(ISMIR2018) --artists 60

demo-sweep: .venv/installed  ## the same, by number of training artists
	$(PY) $(ISMIR2018) --artists 10 20 40 60

demo-arxiv2017: .venv/installed  ## reproduce arxiv2017 on synthetic music
	$(PY) reproduce.py arxiv2017 $(DEMO) --train demo --genres demo_target --tags demo_target \
		--artists 10 20 40 60 --epochs 30 --dimensions 64 --trials 3

demo-agf2018: .venv/installed .venv/installed-essentia  ## reproduce agf2018 on synthetic music
	$(PY) reproduce.py agf2018 $(DEMO) --dataset demo_genres --subgenres subgenres --clusters 64 \
		--track-clusters 24 --groups 8 --epochs 20 --mtn-epochs 100 --batch-size 16

demo-papers: demo-sweep demo-arxiv2017 demo-agf2018  ## reproduce all three, with one report

clean-demo:  ## delete what the demos have created
	rm -rf corpus cache/demo* results/demo splits/demo*.csv*

PAPERS := ismir2018 arxiv2017 agf2018 sid
ifneq ($(filter $(PAPERS),$(MAKECMDGOALS)),)
ifndef DATA
$(error missing DATA, the folder of the datasets: make $(firstword $(MAKECMDGOALS)) DATA=DIR; see README.md)
endif
endif

# Other options of reproduce.py go into MORE, for example MORE="--train fma_large".
agf2018: .venv/installed-essentia
ismir2018 arxiv2017 agf2018: .venv/installed  ## reproduce a paper on real data: DATA=DIR [MORE="OPTIONS"]
sid: .venv/installed  ## the papers' experiments on music of the Commodore 64: DATA=DIR [MORE="OPTIONS"]
$(PAPERS):
	$(PY) reproduce.py $@ --data "$(DATA)" --out results/$@ $(MORE)

# On two processes; the tests of one file share what is expensive to make, and so one process.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed-dev  ## run the tests that are not marked slow
	$(PY) -m pytest $(TWO) -m "not slow"

test-all: .venv/installed-dev  ## run all tests
	$(PY) -m pytest $(TWO)

test-jax test-torch: test-%: .venv/installed-dev .venv/installed-%  ## run the backend's tests on it
	KERAS_BACKEND=$* $(PY) -m pytest $(TWO) -m "backend and not slow"

lint: .venv/installed-dev  ## check style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 14))' || \
		{ echo "needs Python 3.11.4 to 3.13; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt pyproject.toml
.venv/installed-onnx: requirements-onnx.txt requirements.txt pyproject.toml
.venv/installed .venv/installed-onnx: | .venv/pyvenv.cfg
	$(PY) -m pip install --quiet --requirement $<
	$(PY) -m pip install --quiet --no-deps --editable .
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PY) -m pip install --quiet --requirement requirements-dev.txt
	touch $@

.venv/installed-jax .venv/installed-torch .venv/installed-essentia: .venv/installed-%: requirements-%.txt .venv/installed
	$(PY) -m pip install --quiet --requirement $<
	touch $@
