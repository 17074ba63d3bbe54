"""The training of networks: one loop for all of them, with checkpoints and devices."""
