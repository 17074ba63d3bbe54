"""Speaker-recognition baselines of arxiv2017 (GMM-UBM, i-vectors, PLDA) and their protocols."""

# The settings of arxiv2017: enrolment and test tracks per artist, and the relevance factor of the
# GMM-UBM, which the paper does not state.
ENROL_TRACKS, TEST_TRACKS, RELEVANCE = 15, 5, 16.0

# The paper's names for each model's features; other models keep their own names.
FEATURE_NAMES = {"ivector": "i-vector", "basic": "DeepArtistID"}
