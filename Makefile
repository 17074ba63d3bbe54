# `make demo` and `make test` set themselves up; they need Python 3.11 or later and make.

PYTHON ?= python3
PY := .venv/bin/python
# The papers on the built-in corpus: each is a plan of steps, which skips what is done, so that a
# stopped one goes on. All three share a folder, and so trainings and a report.
DEMO := --data corpus --out results/demo

.PHONY: demo demo-arxiv2017 demo-agf2018 demo-papers ismir2018 arxiv2017 agf2018
.PHONY: test test-jax test-torch lint clean-demo
.DELETE_ON_ERROR:

# ismir2018: features of artists, judged on the genres of others.
demo: .venv/installed
	$(PY) reproduce.py ismir2018 $(DEMO) --train demo --tags demo --targets demo_target \
		--artists 10 20 40 60 --epochs 30 --siamese-rate 0.03

# arxiv2017: artists recognised by the CNN, by i-vectors and a GMM-UBM, and by both.
demo-arxiv2017: .venv/installed
	$(PY) reproduce.py arxiv2017 $(DEMO) --train demo --genres demo_target --tags demo_target \
		--artists 10 20 40 60 --epochs 30 --dimensions 64 --trials 3

# agf2018: genres by all sets of networks.
demo-agf2018: .venv/installed .venv/installed-essentia
	$(PY) reproduce.py agf2018 $(DEMO) --songs demo_genres --subgenres subgenres --clusters 64 \
		--track-clusters 24 --groups 8 --epochs 20 --mtn-epochs 100 --batch 16

# Every table and figure of all three.
demo-papers: demo demo-arxiv2017 demo-agf2018

# A paper of the data that there is: make ismir2018 DATA=DIR, and MORE="--train fma_large" or the
# like for other options of reproduce.py.
agf2018: .venv/installed-essentia
ismir2018 arxiv2017 agf2018: .venv/installed
	@test -n "$(DATA)" || \
		{ echo "needs the folder of the datasets: make $@ DATA=DIR; see README.md"; exit 2; }
	$(PY) reproduce.py $@ --data "$(DATA)" --out results/$@ $(MORE)

# On two cores: a file of tests keeps to one of them, for its tests share what is dear to make.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed-dev
	$(PY) -m pytest $(TWO)

# What depends on the backend, on the others than TensorFlow: shapes of networks do not, nor does
# what is made without Keras.
ALIKE :=
test-jax test-torch: test-%: .venv/installed-dev .venv/installed-%
	KERAS_BACKEND=$* $(PY) -m pytest $(TWO) tests/models tests/training

lint: .venv/installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean-demo:
	rm -rf corpus cache/demo* results/demo splits/demo*.csv*

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --requirement requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PY) -m pip install --quiet --requirement requirements-dev.txt
	touch $@

.venv/installed-jax .venv/installed-torch .venv/installed-essentia: .venv/installed-%: requirements-%.txt .venv/installed
	$(PY) -m pip install --quiet --requirement $<
	touch $@
