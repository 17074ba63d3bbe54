"""Network training: one loop for all networks, with checkpoints and device handling."""
