"""Speaker-recognition baselines of arxiv2017 (GMM-UBM, i-vectors, PLDA) and their protocols."""
