"""From audio files to crops: the papers' first two steps, and the batches used by the third."""
