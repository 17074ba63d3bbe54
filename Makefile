# `make demo` and `make test` set themselves up; they need Python 3.11.4 or later and make.

PYTHON ?= python3
PY := .venv/bin/python
# The papers on the synthetic corpus. Each is a list of commands that skips completed ones, so an
# interrupted run resumes. All three share a folder, and so their trainings and one report.
DEMO := --data corpus --out results/demo

.PHONY: demo demo-arxiv2017 demo-agf2018 demo-papers ismir2018 arxiv2017 agf2018
.PHONY: install-light test test-all test-jax test-torch lint clean-demo
.DELETE_ON_ERROR:

# ismir2018: embeddings learned from artists, evaluated on the genres of other artists.
demo: .venv/installed
	$(PY) reproduce.py ismir2018 $(DEMO) --train demo --tags demo --targets demo_target \
		--artists 10 20 40 60 --epochs 30 --siamese-learning-rate 0.03

# arxiv2017: artist recognition by the CNN, by i-vectors and a GMM-UBM, and by their fusion.
demo-arxiv2017: .venv/installed
	$(PY) reproduce.py arxiv2017 $(DEMO) --train demo --genres demo_target --tags demo_target \
		--artists 10 20 40 60 --epochs 30 --dimensions 64 --trials 3

# agf2018: genre classification with all sets of tasks.
demo-agf2018: .venv/installed .venv/installed-essentia
	$(PY) reproduce.py agf2018 $(DEMO) --dataset demo_genres --subgenres subgenres --clusters 64 \
		--track-clusters 24 --groups 8 --epochs 20 --mtn-epochs 100 --batch-size 16

# Every table and figure of all three.
demo-papers: demo demo-arxiv2017 demo-agf2018

# A paper from real data: make ismir2018 DATA=DIR. Other options of reproduce.py go into MORE, for
# example MORE="--train fma_large".
agf2018: .venv/installed-essentia
ismir2018 arxiv2017 agf2018: .venv/installed
	@test -n "$(DATA)" || \
		{ echo "missing DATA, the folder of the datasets: make $@ DATA=DIR; see README.md"; exit 2; }
	$(PY) reproduce.py $@ --data "$(DATA)" --out results/$@ $(MORE)

# Only what extract_features.py needs for a file of export.py. The other commands add the rest.
install-light: .venv/installed-onnx

# On two processes; the tests of one file share what is expensive to make, and so one process.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Without the tests marked slow; the last lines tell how many were left out.
test: .venv/installed-dev
	$(PY) -m pytest $(TWO) -m "not slow"

test-all: .venv/installed-dev
	$(PY) -m pytest $(TWO)

# The tests whose outcome depends on the Keras backend, on the other two backends.
test-jax test-torch: test-%: .venv/installed-dev .venv/installed-%
	KERAS_BACKEND=$* $(PY) -m pytest $(TWO) -m "backend and not slow"

lint: .venv/installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

clean-demo:
	rm -rf corpus cache/demo* results/demo splits/demo*.csv*

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' || \
		{ echo "needs Python 3.11.4 or later; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt
.venv/installed-onnx: requirements-onnx.txt requirements.txt
.venv/installed .venv/installed-onnx: | .venv/pyvenv.cfg
	$(PY) -m pip install --quiet --requirement $<
	touch $@

.venv/installed-dev: requirements-dev.txt requirements-onnx.txt .venv/installed
	$(PY) -m pip install --quiet --requirement requirements-dev.txt
	touch $@

.venv/installed-jax .venv/installed-torch .venv/installed-essentia: .venv/installed-%: requirements-%.txt .venv/installed
	$(PY) -m pip install --quiet --requirement $<
	touch $@
