"""Metrics, written as pure functions of arrays, and result files."""

# The settings of ismir2018, section 5.
NEIGHBOURS = 20  # of k-NN
LINEAR_TRIALS = 10  # training runs of the linear softmax

# Beyond the papers.
CLUSTER_STARTS = 10  # runs of k-means, of which the best is kept
