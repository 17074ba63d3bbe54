"""From audio files to crops: the first two steps of the papers, and the batches of the third."""
