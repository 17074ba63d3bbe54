"""The dimensions of the encoders, for modules that work without Keras."""

BANDS = 128  # mel bands in the input
EMBEDDING = 256  # output dimensions
NORM_EPSILON = 1e-3  # added to the variance by batch normalisation
# Mean to which the mel magnitudes of a segment are scaled, times the front end's gain of 10, if its
# level is removed; and what is added to it, for silent segments.
EQUAL_LEVEL, SILENT_LEVEL = 3.0, 1e-5
# (filters, kernel size, pool size) per block, from ismir2018 section 3.1 and the published code.
BLOCKS = ((128, 4, 4), (128, 4, 4), (128, 4, 4), (128, 2, 2), (256, 1, None))
# The same convolutions, with eight frames left, over which the mean and the deviation are computed.
STATISTICS_BLOCKS = ((128, 4, 4), (128, 4, 4), (128, 4, None), (128, 2, None), (256, 1, None))
ENCODERS = {"paper": BLOCKS, "statistics": STATISTICS_BLOCKS}
VARIANCE_EPSILON = 1e-6  # added to the variance over time, whose root has no derivative at 0
