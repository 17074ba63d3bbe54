# `make demo` and `make test` set themselves up; they need Python 3.11 or later and make.

PYTHON ?= python3
PY := .venv/bin/python
DEMO_FEATURES := basic siamese tag mfcc untrained

ARXIV := results/arxiv2017_demo
AGF := results/agf2018_demo

.PHONY: demo demo-arxiv2017 demo-agf2018 test test-jax test-torch lint clean-demo
.DELETE_ON_ERROR:

# The papers' pipeline on the built-in corpus. Each step skips what is done, so that a stopped
# demo goes on where it was.
demo: .venv/installed
	$(PY) data_prep/1_make_splits.py demo --root corpus --out splits/demo.csv
	$(PY) data_prep/1_make_splits.py demo_target --root corpus --out splits/demo_target.csv
	$(PY) data_prep/2_cache_mels.py splits/demo.csv --audio corpus --out cache/demo.h5
	$(PY) data_prep/2_cache_mels.py splits/demo_target.csv --audio corpus --out cache/demo_target.h5
	$(PY) train_basic.py splits/demo.csv cache/demo.h5 --out runs/basic --epochs 30
	$(PY) train_siamese.py splits/demo.csv cache/demo.h5 --out runs/siamese --epochs 20 --rate 0.03
	$(PY) train_basic.py splits/demo.csv cache/demo.h5 --out runs/tag --labels tags --epochs 30
	$(PY) extract_features.py runs/basic/best.h5 cache/demo_target.h5 --out features/basic.h5
	$(PY) extract_features.py runs/siamese/best.h5 cache/demo_target.h5 --out features/siamese.h5
	$(PY) extract_features.py runs/tag/best.h5 cache/demo_target.h5 --out features/tag.h5
	$(PY) extract_features.py mfcc cache/demo_target.h5 --out features/mfcc.h5
	$(PY) extract_features.py untrained cache/demo_target.h5 --out features/untrained.h5
	@set -e; for features in $(DEMO_FEATURES); do for protocol in retrieval knn linear; do \
		set -- $$protocol features/$$features.h5 splits/demo_target.csv --label genre \
			--json results/demo/$${protocol}_$$features.json; \
		echo "$(PY) evaluate.py $$*"; $(PY) evaluate.py "$$@"; done; done
	$(PY) evaluate.py tables --results results/demo > /dev/null
	$(PY) evaluate.py summary --results results/demo

# The 2017 paper on it: artists by the CNN, by i-vectors and a GMM-UBM, and by both.
demo-arxiv2017: .venv/installed
	for part in demo demo_unseen demo_target; do \
		$(PY) data_prep/1_make_splits.py $$part --root corpus --out splits/$$part.csv && \
		$(PY) data_prep/2_cache_mels.py splits/$$part.csv --audio corpus --out cache/$$part.h5 \
			|| exit; done
	$(PY) reproduce.py arxiv2017 --out $(ARXIV) --artists 10 20 40 60 --epochs 30 \
		--dimensions 64 --trials 3 --train splits/demo.csv cache/demo.h5 \
		--unseen splits/demo_unseen.csv cache/demo_unseen.h5 \
		--genres splits/demo_target.csv cache/demo_target.h5 \
		--tags splits/demo_target.csv cache/demo_target.h5

# The 2018 paper of artist groups on it: genres by all sets of networks.
demo-agf2018: .venv/installed .venv/installed-essentia
	$(PY) data_prep/1_make_splits.py demo_genres --root corpus --out splits/demo_genres.csv
	$(PY) data_prep/2_cache_mels.py splits/demo_genres.csv --audio corpus \
		--out cache/demo_genres.h5
	$(PY) reproduce.py agf2018 --songs splits/demo_genres.csv cache/demo_genres.h5 \
		--audio corpus --subgenres subgenres --clusters 64 --track-clusters 24 --groups 8 \
		--epochs 20 --mtn-epochs 50 --batch 16 --out $(AGF)

test: .venv/installed-dev
	$(PY) -m pytest

# What depends on the backend, on the others than TensorFlow.
test-jax test-torch: test-%: .venv/installed-dev .venv/installed-%
	KERAS_BACKEND=$* $(PY) -m pytest tests/models

lint: .venv/installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean-demo:
	rm -rf corpus cache/demo* runs/basic runs/siamese runs/tag results/demo $(ARXIV) $(AGF) splits/demo*.csv* \
		$(DEMO_FEATURES:%=features/%.h5)

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
