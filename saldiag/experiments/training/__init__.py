"""The training run: loop, checkpoints, resuming, progress and the estimate of its cost."""
